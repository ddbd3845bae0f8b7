"""Errors of serving: before a request (ServingError) and in one (RequestError)."""

from common.errors import SeqloomError

# google.rpc.Code names, in the order of their numbers from 0, to HTTP status as TensorFlow
# Serving's http_server.cc maps them.
HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


class ServingError(SeqloomError, ValueError):
    """An unusable bundle or server set-up; one sentence names the file or flag and what to do."""


class RequestError(SeqloomError):
    """A request that cannot be answered; every front end (REST now, gRPC later) can express it.

    Attributes:
        message: What TensorFlow Serving would say, or one clear sentence where it has no such case.
        code: Canonical status name, a key of `HTTP_STATUS`.
        http_status: The code as HTTP; given explicitly only where HTTP is finer (413).
    """

    def __init__(
        self, message: str, code: str = "INVALID_ARGUMENT", http_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.http_status = HTTP_STATUS[code] if http_status is None else http_status

    def status_text(self) -> str:
        """`INVALID_ARGUMENT: message`, the form that TensorFlow Serving nests in other messages."""
        return f"{self.code}: {self.message}"
