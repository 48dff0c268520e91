"""The metrics, one file per chapter of the catalogue. A chapter is also the file of the same name in `streamer.journeys.chapters`."""
