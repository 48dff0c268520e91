"""For those who write definitions: advice about a file, its JSON Schema, and tests of its rules. Pure."""
