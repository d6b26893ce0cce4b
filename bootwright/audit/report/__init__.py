"""An audit as text, JUnit, SARIF and HTML, in another numbering, and against a former one."""
