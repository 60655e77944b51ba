"""What XLA says of an operation that it does not have, in one line."""

import re


def what_xla_lacks(error, kinds):
    """Return what an error says of a program that XLA could not compile.

    Parameters
    ----------
    error : tf.errors.OpError
    kinds : dict of str to str
        Classes of the parts of a model, by the names that they had while traced.
    """
    text = str(error)
    lacking = re.search(r"No registered '(\w+)' OpKernel.*?\{\{node ([^}]+)\}\}", text)
    if lacking is None:
        line = re.sub(r"\{\{[^}]*\}\}", "", text.strip().splitlines()[0]).strip()
        return f"{type(error).__name__}: {line}"
    operation, node = lacking.groups()
    # tensorflow numbers names that it has had before.
    names = [re.sub(r"^(part_\d+)(_\d+)*$", r"\1", name) for name in node.split("/")]
    layers = [kinds[name] for name in names if name in kinds]
    of = f" of the layer {layers[-1]}" if layers else ""
    return f"it lacks the operation {operation}{of}"
