"""docs/profile.md is what the profile says."""

from bootwright.core.paths import checkout
from bootwright.provision.profile_doc import profile_document, profile_markdown
from tests.support.host_facts import PROFILE


def test_the_document_in_the_repository_is_up_to_date() -> None:
    written = (checkout() / "docs" / "profile.md").read_text(encoding="utf-8")
    assert written == profile_markdown(PROFILE), "write it anew: inv profile > docs/profile.md"


def test_the_document_answers_for_every_setting_and_removed_key() -> None:
    text = profile_markdown(PROFILE)
    assert all(f"`{item.key}`" in text for item in PROFILE.daemon.setting)
    assert "`disable-legacy-registry`" in text
    assert all(line.count("|") >= 4 for line in text.splitlines() if line.startswith("|"))
    assert profile_document(PROFILE)["schema"] == "bootwright.profile/1"
