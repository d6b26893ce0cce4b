"""Reports of an audit: text, JUnit, SARIF, HTML; ids of other versions; comparisons."""
