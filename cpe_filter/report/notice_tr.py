"""What subscribers are told, in Turkish. The keys and their placeholders: notice_text."""

TEXTS = {
    "provider_first": "İnternet sağlayıcınız",
    "provider": "internet sağlayıcınız",
    "refusal": "Bu iletiyi alici degil, {provider} reddetti: Bu hattan baska posta sunucularina dogrudan e-posta "
    "gonderilemez. Lutfen e-posta hizmetinizin sunucusu uzerinden gonderin, port 587 veya 465.",
}
