"""The errors users can meet. Each message is one sentence that says what is wrong, where, and what to do.

StreamerError
├── DefinitionsError    the definitions file does not hold together
├── SettingsError       a setting is missing, malformed or insecure
├── InputError          a file or stream that a command was asked to read cannot be used
├── TopicsError         a topic is missing or has another shape than promised
├── DataLossError       the log no longer holds what is needed to go on
├── OperatorError       an operator moved something that must move together with the state
├── StackError          the local stack cannot be started
├── DeliveryError       Redis refused or lost what was to be delivered
├── UnreachableError    a server does not answer
├── AccessError         Kafka refuses the certificate, the user, the password or an operation
└── StateError          a newer version of this program wrote the state
"""


class StreamerError(Exception):
    """Root of all errors the commands print as one sentence, without a traceback. `exit_code` is the process's."""

    exit_code = 1


class DefinitionsError(StreamerError):
    """The definitions file (journeys, slices, rules) is malformed or contradicts itself."""

    exit_code = 2


class SettingsError(StreamerError):
    """A setting is missing, malformed or insecure."""

    exit_code = 2


class InputError(StreamerError):
    """A file or stream that a command was asked to read cannot be used."""

    exit_code = 2


class TopicsError(StreamerError):
    """A topic is missing or has another partition count, timestamp type or cleanup policy than promised."""

    exit_code = 3


class DataLossError(StreamerError):
    """The source log no longer holds the offset that the state needs."""

    exit_code = 4


class OperatorError(StreamerError):
    """An operator moved an offset without the state that belongs to it."""

    exit_code = 5


class StackError(StreamerError):
    """The local stack cannot be started: a busy port, a missing program, a full disk."""

    exit_code = 6


class DeliveryError(StreamerError):
    """Redis refused or lost what was to be delivered."""

    exit_code = 7


class UnreachableError(StreamerError):
    """A server does not answer; trying again later may help."""

    exit_code = 8


class AccessError(StreamerError):
    """Kafka, or the way to it, refuses: a certificate, the user, the password, an operation."""

    exit_code = 9


class StateError(StreamerError):
    """The state in the changelog cannot be read by this version of the program."""

    exit_code = 10
