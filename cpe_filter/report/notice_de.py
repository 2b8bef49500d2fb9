"""What subscribers are told, in German. The keys and their placeholders: notice_text."""

TEXTS = {
    "provider_first": "Ihr Internetanbieter",
    "provider": "Ihr Internetanbieter",
    "refusal": "{Provider} hat diese Nachricht abgelehnt, nicht der Empfaenger: Von diesem Anschluss duerfen E-Mails "
    "nicht direkt an fremde Mailserver gehen. Bitte ueber den Server Ihres Mailanbieters senden, Port 587 oder 465.",
}
