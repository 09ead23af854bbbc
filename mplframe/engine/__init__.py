"""The engine: the only loop there is, blind to methods and devices."""
