"""What a refusal says, by the policy. Must not know SMTP."""

from __future__ import annotations

from cpe_filter.texts.notice import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy


def explanation(policy: Policy) -> str:
    """The policy's own text or, if it has none, the text in the language of [notice]; then the URL."""
    url = policy.explain.url or policy.notice.help_url
    if policy.explain.text:
        return f"{policy.explain.text} {url}".rstrip()
    return Words(policy.notice.language, policy.notice.provider).refusal(url)
