"""What is known of Keras' objects, which networks and training are made of."""
