"""docs/profile.md is what the profile says."""

from bootwright.core.paths import checkout
from bootwright.provision.profile_doc import ProfileResult, profile_markdown
from tests.support.host_facts import PROFILE
from tests.support.schemas import check_broken_documents, check_document


def test_the_document_in_the_repository_is_up_to_date() -> None:
    written = (checkout() / "docs" / "profile.md").read_text(encoding="utf-8")
    assert written == profile_markdown(PROFILE), "write it anew: inv profile > docs/profile.md"


def test_the_document_answers_for_every_setting_and_removed_key() -> None:
    text = profile_markdown(PROFILE)
    assert all(f"`{item.key}`" in text for item in PROFILE.daemon.setting)
    assert "`disable-legacy-registry`" in text
    assert all(line.count("|") >= 4 for line in text.splitlines() if line.startswith("|"))


def test_the_json_is_what_its_schema_says() -> None:
    result = ProfileResult(PROFILE)
    document = check_document("profile", result.document())
    free = ("daemon.setting.0.value", "daemon.setting.0.only")
    check_broken_documents("profile", document, free)
    assert result.lines()[0] == "# The profile docker-host"
