"""All that a traced function depends on, as a digest."""
