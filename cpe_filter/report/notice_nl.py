"""What subscribers are told, in Dutch. The keys and their placeholders: notice_text."""

TEXTS = {
    "provider_first": "Uw internetprovider",
    "provider": "uw internetprovider",
    "refusal": "{Provider} heeft dit bericht geweigerd, niet de ontvanger: vanaf deze aansluiting mag mail niet "
    "rechtstreeks naar andere mailservers. Verstuur het via de server van uw maildienst, poort 587 of 465.",
}
