"""What subscribers are told, in English. The keys and their placeholders: notice_text."""

TEXTS = {
    "provider_first": "Your Internet provider",
    "provider": "your Internet provider",
    "refusal": "{Provider}, not the recipient, refused this: mail may not go straight from this line to other mail "
    "servers. Send it through your mail service's server, port 587 or 465.",
}
