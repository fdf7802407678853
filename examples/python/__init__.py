"""The smallest Python service that behaves well on HostKit."""

VERSION = "Version 1"
