"""What all tests share."""

import hypothesis

# How long an example takes says nothing on a machine that boots boards meanwhile.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
