"""The model server: versions, batches, streams, and the two faces of TensorFlow Serving's API."""
