"""The model server: versions, batches, streams, and TensorFlow Serving's REST and gRPC APIs."""
