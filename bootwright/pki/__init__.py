"""The project's certificates: for Docker's remote API and for shipping logs."""
