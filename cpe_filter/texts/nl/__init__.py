"""Texts for subscribers in Dutch. For keys and placeholders see texts.notice.

Knows words. Must not know when they are used.
"""

TEXTS = {
    "provider_first": "Uw internetprovider",
    "provider": "uw internetprovider",
    "months": "januari februari maart april mei juni juli augustus september oktober november december",
    "moment": "{day} {month} {year}, {hour}:{minute} uur",
    # ── the responder ──
    "refusal": "{Provider} heeft dit bericht geweigerd, niet de ontvanger: vanaf deze aansluiting mag mail niet "
    "rechtstreeks naar andere mailservers. Verstuur het via de server van uw maildienst, poort 587 of 465.",
    # ── the page and the mail ──
    "standing_compromised": "Dit apparaat verstuurt e-mail zoals spamprogramma's dat doen. Waarschijnlijk is het "
    "besmet met schadelijke software. Zelf merkt u daar meestal niets van.",
    "first": "Voor het eerst opgemerkt",
    "last": "Voor het laatst opgemerkt",
    "h_blocked": "Wat geblokkeerd is",
    "h_limited": "Wat afgeremd wordt",
    "blocked_block": "E-mail die dit apparaat rechtstreeks naar andere mailservers stuurt (poort 25).",
    "blocked_monitor": "Niets. Het filter kijkt alleen mee.",
    "h_works": "Wat blijft werken",
    "works": "Al het andere op dit apparaat: websites, video, webmail en e-mail via uw maildienst (poort 587 en "
    "465). Voor uw andere apparaten verandert er niets.",
    "h_steps": "Wat u kunt doen, in drie stappen",
    "step_1": "Haal het apparaat van het internet: trek de netwerkkabel eruit of zet de wifi uit. De naam en het "
    "hardwareadres helpen u om het te vinden.",
    "step_2": "Maak het schoon: installeer alle updates, verwijder programma's die u niet kent en laat een "
    "virusscanner het controleren. Een tv-kastje, camera of iets dergelijks: zet het terug naar de "
    "fabrieksinstellingen en stel een nieuw wachtwoord in.",
    "step_3": "Meld dat het schoon is: kies “Ik heb dit apparaat schoongemaakt” onder “Mailfilter” in de "
    "instellingen van de router, of laat het {provider} weten. Daarna mag het weer mail versturen; het filter "
    "blijft opletten.",
    "h_own": "Hebt u een eigen mailserver?",
    "own": "Sta dan toe dat dat apparaat zelf mail verstuurt: kies “Dit is mijn mailserver” onder “Mailfilter” in de "
    "instellingen van de router, of laat het {provider} weten.",
    "h_object": "Als u het er niet mee eens bent",
    "object": "U kunt op elk moment bezwaar maken. Laat het {provider} weten en noem het apparaat en de tijdstippen "
    "die hier staan.",
    "help": "Hulp en bezwaar:",
    # ── the page ──
    "title": "Uw apparaten en e-mail",
    "h_action_one": "Eén apparaat vraagt uw aandacht",
    "h_action_many": "{count} apparaten vragen uw aandacht",
    "h_none": "Geen actie nodig",
    "lead_action": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Het heeft iets gevonden waar u naar moet kijken.",
    "lead_none": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Het heeft niets gevonden waar u naar moet kijken.",
    "lead_question": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Het heeft niets gevonden dat gestopt moet worden, maar heeft een vraag.",
    "action": "Actie nodig",
    "no_action": "Geen actie nodig",
    "since": "sinds {time}",
    "h_question": "Is dit uw mailserver?",
    "standing_unusual": "Dit apparaat verstuurt e-mail zoals een mailserver dat doet. Draait u er een mailserver op, "
    "sta die dan toe, zodat het filter hem met rust laat. Zo niet, dan verstuurt iets op het apparaat e-mail zonder "
    "dat u het weet: controleer het apparaat.",
    "standing_clear": "Niets ongewoons.",
    "released": "Op {time} is gemeld dat dit apparaat is schoongemaakt. Het filter houdt het nog even in de gaten.",
    "cleared": "In orde sinds {time}: het filter ziet niets verkeerds meer aan dit apparaat.",
    "h_noticed": "Wat er is opgemerkt",
    "unnamed": "Apparaat zonder naam",
    "router": "De router zelf",
    "home": "Een onbekend apparaat bij u thuis",
    "behind": "Achter een andere router",
    "maker": "Fabrikantcode {oui}",
    "random": "Willekeurig gekozen hardwareadres",
    "tail": "Hardwareadres eindigt op {tail}",
    "step_router": "Dit is de router zelf. Laat het {provider} weten: hij moet worden bijgewerkt of vervangen.",
    "step_home": "Het filter kan niet zeggen welk apparaat dit is: het wisselt steeds van adres. Apparaten die uw "
    "router kent, hebben er geen last van. Controleer de apparaten die er het laatst bij zijn gekomen, en vraag "
    "{provider} om hulp als dat nodig is.",
    "h_others": "Andere apparaten die mail hebben verstuurd",
    "more_devices": "En nog {count}.",
    "nothing": "Tot nu toe heeft geen apparaat rechtstreeks mail naar een mailserver gestuurd.",
    "blocked_all": "Vanaf deze aansluiting mag geen apparaat rechtstreeks mail naar andere mailservers sturen (poort "
    "25), tenzij u dat toestaat. E-mail via uw maildienst blijft gewoon werken.",
    "h_privacy": "Wat het filter ziet",
    "privacy": "Het kijkt alleen naar mail die apparaten rechtstreeks naar mailservers sturen (poort 25): welke "
    "servers ze benaderen, hoe ze zich voorstellen, wat de servers antwoorden en hoeveel er wordt verstuurd; en hoe "
    "vaak een apparaat mailservers opzoekt. De inhoud van berichten wordt nooit gelezen en e-mailadressen worden "
    "niet bewaard.",
    "privacy_local": "Niets daarvan verlaat uw huis.",
    "privacy_reports": "{Provider} krijgt te horen wanneer een apparaat spam verstuurt of op een mailserver lijkt: de "
    "tijdstippen, de aantallen, de kenmerken en de fabrikantcode, onder een verzonnen nummer; en dat het filter "
    "werkt. Inhoud en e-mailadressen worden nooit doorgegeven.",
    "privacy_names": "Ook de naam die het apparaat zichzelf geeft, wordt doorgegeven.",
    "as_of": "Stand van {time} ({zone}). Laad deze pagina opnieuw voor het laatste nieuws.",
    # ── the notice that is served ──
    "h_not_here": "Niets over dit apparaat",
    "lead_not_here": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Het heeft niets te melden over het apparaat waarop u dit leest.",
    "h_answer": "Uw antwoord",
    "answer_seen": "Ik heb dit gezien",
    "hint_seen": "Websites openen meteen weer. Voor mail van het apparaat verandert er niets.",
    "hint_seen_other": "Deze pagina verschijnt hier niet meer. Op het apparaat zelf blijft zij staan.",
    "answer_cleaned": "Ik heb dit apparaat schoongemaakt",
    "hint_cleaned": "Het geldt als schoongemaakt; het filter blijft opletten.",
    "hint_cleaned_isp": "{Provider} krijgt bericht en geeft het vrij.",
    "answer_server": "Dit is mijn mailserver",
    "hint_server": "Hij mag voortaan zelf mail versturen.",
    "hint_server_isp": "{Provider} krijgt bericht en beslist.",
    "answer_mistake": "Dit is een vergissing",
    "hint_mistake": "{Provider} krijgt bericht dat u bezwaar maakt.",
    "hint_tell": "Laat het {provider} ook zelf weten: deze router meldt het niet.",
    "thanks": "Dank u wel",
    "done_seen": "U hebt de melding gezien. Websites openen weer als voorheen.",
    "done_cleaned": "Uw antwoord is genoteerd. {Provider} moet het apparaat vrijgeven.",
    "done_released": "Het apparaat geldt als schoongemaakt. Het filter blijft opletten.",
    "done_server": "Uw antwoord is genoteerd. {Provider} beslist of het apparaat zelf mail mag versturen.",
    "done_exempted": "Het apparaat mag voortaan zelf mail versturen.",
    "done_mistake": "Uw bezwaar is genoteerd. Websites openen weer als voorheen.",
    "not_done": "Dat is niet gelukt",
    "done_refused": "Alleen het apparaat waar het om gaat kan antwoorden. Open deze pagina daar en probeer het "
    "opnieuw.",
    "done_busy": "Er waren te veel antwoorden. Probeer het over een uur opnieuw.",
    "done_failed": "De router kon het niet uitvoeren. Probeer het over een minuut opnieuw.",
    "reach": "Meer staat op de eigen pagina van de router:",
    "phone": "Hulp per telefoon:",
    # ── the provider's mail and its short message ──
    "mail_subject": "Een apparaat bij u thuis vraagt uw aandacht",
    "mail_hello": "Geachte klant,",
    "mail_intro": "Het mailfilter op uw router heeft bij u thuis een apparaat gevonden dat uw aandacht vraagt.",
    "mail_device": "Apparaat",
    "mail_unnamed": "de naam staat op de pagina van uw router",
    "mail_case": "Zaaknummer",
    "mail_page": "Op de pagina van uw router (“Mailfilter”) staan de naam van het apparaat en wat er is opgemerkt.",
    "mail_below": "De tekst in het Nederlands staat verderop.",
    "mail_safety": "Dit bericht vraagt niet om een wachtwoord en leidt niet naar een inlogpagina. Twijfelt u? Bel "
    "{provider} op het nummer dat u kent.",
    "mail_bye": "Met vriendelijke groet",
    "signature": "{Provider}",
    "sms": "{Provider}: een apparaat bij u thuis lijkt besmet. In onze e-mail aan u staat wat u kunt doen.",
}

NOTICED = {
    "new-destination": "Het benaderde mailservers over de hele wereld die het nog nooit had gebruikt.",
    "breadth": "Eén programma erop schrijft naar veel verschillende mailservers.",
    "destination-burst": "Het benaderde binnen een minuut veel nieuwe mailservers.",
    "sustained": "Het benadert uur na uur nieuwe mailservers.",
    "connect-refused": "Het probeerde mailservers die verbindingen weigeren.",
    "connect-timeout": "Het probeerde mailservers die niet antwoorden.",
    "helo-dynamic": "Het stelt zich voor met een verzonnen technische naam.",
    "helo-address": "Het stelt zich voor met een nummer in plaats van een naam.",
    "helo-private": "Het stelt zich voor met een adres dat alleen bij u thuis bestaat.",
    "helo-unqualified": "Het stelt zich voor met één enkel woord.",
    "helo-empty": "Het stelt zich voor zonder een naam te noemen.",
    "helo-rotates": "Het stelt zich telkens onder een andere naam voor.",
    "helo-domain-rotates": "Het stelt zich voor met namen van veel verschillende bedrijven.",
    "sender-unrelated": "Het verstuurt mail uit naam van een domein dat niet het zijne is.",
    "sender-rotates": "Het verstuurt mail onder veel verschillende afzenderdomeinen.",
    "new-pair": "Het schrijft onder steeds nieuwe namen naar onbekenden.",
    "unauthenticated": "Het verstuurt e-mail zonder een account bij de mailserver.",
    "banner-refused": "Mailservers weigeren het zodra het contact zoekt.",
    "unknown-user": "Het schreef naar veel adressen die niet bestaan.",
    "dnsbl-listed": "Mailservers melden dat uw aansluiting op een zwarte lijst van spamverzenders staat.",
    "dnsbl-unlisted": "Een mailserver vond uw aansluiting niet op een zwarte lijst.",
    "residential-line": "Mailservers nemen geen mail aan die rechtstreeks van thuisaansluitingen komt.",
    "refused": "Mailservers weigerden wat het verstuurde.",
    "deferred": "Een mailserver vroeg het om het later opnieuw te proberen.",
    "tls-too-short": "Zijn versleutelde verbindingen met mailservers eindigen voordat een bericht wordt verstuurd.",
    "early-talk": "Het gedraagt zich als een spamprogramma: het wacht niet op de begroeting van de server.",
    "blind-pipelining": "Het gedraagt zich als een spamprogramma: het wacht niet op antwoorden.",
    "content-after-refusal": "Het gedraagt zich als een spamprogramma: het verstuurt, hoewel het geweigerd werd.",
    "not-smtp": "Het gebruikt de mailpoort voor iets anders.",
    "no-quit": "Het verbreekt de verbinding zoals spamprogramma's dat doen.",
    "path-spaced": "Het schrijft mailopdrachten zoals spamprogramma's dat doen.",
    "helo-not-ehlo": "Het gebruikt een verouderde begroeting, zoals veel spamprogramma's.",
    "declines-tls": "Het versleutelt niet, hoewel dat zou kunnen.",
    "verb-case": "Het schrijft mailopdrachten zoals spamprogramma's dat doen.",
    "many-recipients": "Het schrijft naar heel veel mensen tegelijk.",
    "sender-is-recipient": "Het verstuurt mail die van de ontvanger zelf lijkt te komen.",
    "helo-is-recipient": "Het doet zich voor als de mailserver die het benadert.",
    "relayed": "Het geeft e-mail door voor iemand anders op internet, zoals proxyprogramma's in apps doen.",
    "from-router": "De router zelf verstuurt mail, wat hij nooit zou moeten doen.",
    "mx-lookup": "Het zoekt mailservers op zoals alleen mailservers dat doen.",
    "mx-foreign": "Het zoekt mailservers op buiten uw router om.",
    "message-content": "Het stuurt berichten naar onbekenden.",
}
