"""Texts for subscribers in Dutch. For keys and placeholders see texts.notice.

Knows words. Must not know when they are used.
"""

TEXTS = {
    "provider_first": "Uw internetprovider",
    "provider": "uw internetprovider",
    "months": "januari februari maart april mei juni juli augustus september oktober november december",
    "moment": "{day} {month} {year}, {hour}:{minute} uur",
    # ── the responder ──
    "refusal": "{Provider} heeft dit bericht geweigerd, niet de ontvanger: vanaf deze aansluiting mag e-mail niet "
    "rechtstreeks naar andere mailservers. Verstuur het via de server van uw maildienst, poort 587 of 465.",
    # ── the page and the mail ──
    "standing_compromised": "Dit apparaat verstuurt e-mail zoals spamprogramma's dat doen. Zeer waarschijnlijk is het "
    "besmet met schadelijke software. Zelf merkt u daar meestal niets van.",
    "first": "Voor het eerst opgemerkt",
    "last": "Voor het laatst opgemerkt",
    "h_blocked": "Wat geblokkeerd is",
    "h_limited": "Wat afgeremd wordt",
    "blocked_block": "E-mail die dit apparaat rechtstreeks naar andere mailservers stuurt (poort 25).",
    "blocked_monitor": "Niets. Het filter kijkt alleen mee.",
    "h_works": "Wat blijft werken",
    "works": "Al het andere op dit apparaat: websites, video, webmail en e-mail via uw maildienst (poorten 587 en "
    "465). Voor uw andere apparaten verandert er niets.",
    "h_steps": "Wat u kunt doen, in drie stappen",
    "step_1": "Verbreek de internetverbinding van het apparaat: trek de netwerkkabel eruit of zet de wifi ervan uit. "
    "De naam en het hardwareadres helpen u het te vinden.",
    "step_2": "Maak het schoon: installeer alle updates, verwijder programma's die u niet kent en laat een "
    "virusscanner het controleren. Is het een tv-kastje, een camera of iets dergelijks, zet het dan terug naar de "
    "fabrieksinstellingen en stel een nieuw wachtwoord in.",
    "step_3": "Meld dat het schoon is: kies “Ik heb dit apparaat schoongemaakt” onder “Mailfilter” in de instellingen "
    "van de router, of laat het {provider} weten.",
    "step_3_here": "Meld dat het schoon is: kies “{answer}” op deze pagina.",
    "then_free": "Daarna mag het weer zelf e-mail versturen; het filter blijft het in de gaten houden.",
    "then_block": "Daarna geldt het als schoon; het filter blijft het in de gaten houden. Zoals op al uw apparaten "
    "gaat e-mail nog steeds alleen via uw maildienst (poorten 587 en 465).",
    "then_watch": "Daarna geldt het als schoon; het filter blijft het in de gaten houden.",
    "h_own": "Hebt u een eigen mailserver?",
    "own": "Sta dan toe dat het apparaat zelf e-mail verstuurt: kies “Dit is mijn mailserver” onder “Mailfilter” in de "
    "instellingen van de router, of laat het {provider} weten.",
    "h_object": "Als u het er niet mee eens bent",
    "object": "U kunt op elk moment bezwaar maken. Neem contact op met {provider} en noem het apparaat en de "
    "tijdstippen die hier staan.",
    "help": "Hulp en bezwaar:",
    # ── the page ──
    "title": "Uw apparaten en e-mail",
    "h_action_one": "Eén apparaat vraagt uw aandacht",
    "h_action_many": "{count} apparaten vragen uw aandacht",
    "h_none": "Geen actie nodig",
    "lead_action": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Het heeft iets gevonden dat uw aandacht vraagt.",
    "lead_none": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Het heeft niets gevonden dat uw aandacht vraagt.",
    "lead_question": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Het heeft niets gevonden dat geblokkeerd moet worden, maar heeft een vraag.",
    "action": "Actie nodig",
    "no_action": "Geen actie nodig",
    "since": "sinds {time}",
    "h_question": "Is dit uw mailserver?",
    "standing_unusual": "Dit apparaat verstuurt e-mail zoals een mailserver dat doet. Draait u er een mailserver op, "
    "sta die dan toe, zodat het filter hem met rust laat. Zo niet, dan verstuurt misschien een programma erop e-mail "
    "zonder dat u het weet: controleer het apparaat.",
    "standing_clear": "Niets ongewoons.",
    "released": "Op {time} is dit apparaat als schoongemaakt gemeld. Het filter houdt het nog even in de gaten.",
    "cleared": "In orde sinds {time}: het filter ziet niets verkeerds meer aan dit apparaat.",
    "h_noticed": "Wat er is opgemerkt",
    "h_connections": "Verbindingen met andere mailservers",
    "connections": "{count}, waarvan {refused} geweigerd",
    "unnamed": "Apparaat zonder naam",
    "router": "De router zelf",
    "home": "Een onbekend apparaat bij u thuis",
    "behind": "Achter een andere router",
    "maker": "Fabrikantcode {oui}",
    "random": "Willekeurig hardwareadres",
    "tail": "Hardwareadres eindigt op {tail}",
    "step_router": "Dit is de router zelf. Laat het {provider} weten: de router moet worden bijgewerkt of vervangen.",
    "step_home": "Het filter kan niet zien welk apparaat dit is, omdat het steeds van adres wisselt. Apparaten die uw "
    "router kent, hebben er geen last van. Controleer de apparaten die er het laatst bij zijn gekomen, en vraag "
    "{provider} om hulp als dat nodig is.",
    "h_others": "Andere apparaten die e-mail hebben verstuurd",
    "more_devices": "En nog {count}.",
    "nothing": "Tot nu toe heeft geen apparaat rechtstreeks e-mail naar een mailserver gestuurd.",
    "blocked_all": "Vanaf deze aansluiting mag geen apparaat rechtstreeks e-mail naar andere mailservers sturen (poort "
    "25), tenzij u dat toestaat. E-mail via uw maildienst blijft gewoon werken.",
    "h_privacy": "Wat het filter ziet",
    "privacy": "Het kijkt alleen naar e-mail die apparaten rechtstreeks naar mailservers sturen (poort 25): welke "
    "servers ze benaderen, hoe ze zich voorstellen, wat de servers antwoorden en hoeveel er wordt verstuurd. Ook telt "
    "het hoe vaak een apparaat mailservers opzoekt en hoe vaak het verbinding maakt met maildiensten (poorten 587 en "
    "465). De inhoud van berichten wordt nooit gelezen en e-mailadressen worden niet bewaard.",
    "privacy_local": "Niets daarvan verlaat uw huis.",
    "privacy_reports": "{Provider} krijgt bericht wanneer een apparaat waarschijnlijk besmet is of op een mailserver "
    "lijkt: tijdstippen, aantallen, kenmerken, het soort apparaat, de fabrikantcode en uw antwoord op de melding, "
    "onder een pseudoniem; en eenmaal per dag dat het filter werkt. Inhoud en e-mailadressen worden nooit doorgegeven.",
    "privacy_names": "Ook de naam die het apparaat zichzelf geeft, wordt doorgegeven.",
    "as_of": "Stand van {time} ({zone}). Vernieuw deze pagina voor de laatste stand.",
    # ── the notice that is served ──
    "h_not_here": "Niets over dit apparaat",
    "lead_not_here": "Op deze router draait een mailfilter van {provider}, zodat besmette apparaten geen spam kunnen "
    "versturen via uw aansluiting. Over het apparaat waarop u dit leest, heeft het niets te melden.",
    "h_answer": "Uw antwoord",
    "answer_seen": "Ik heb dit gezien",
    "hint_seen": "Websites openen meteen weer. Voor de e-mail van het apparaat verandert er niets.",
    "hint_seen_other": "Deze pagina verschijnt hier niet meer. Op het apparaat zelf verschijnt zij nog wel.",
    "answer_cleaned": "Ik heb dit apparaat schoongemaakt",
    "hint_cleaned": "Het geldt als schoon; het filter blijft het in de gaten houden.",
    "hint_cleaned_isp": "{Provider} krijgt bericht en geeft het vrij.",
    "answer_server": "Dit is mijn mailserver",
    "hint_server": "Hij mag voortaan zelf e-mail versturen.",
    "hint_server_isp": "{Provider} krijgt bericht en beslist.",
    "answer_mistake": "Dit is een vergissing",
    "hint_mistake": "{Provider} krijgt bericht dat u bezwaar maakt.",
    "hint_tell": "Laat het {provider} ook zelf weten: deze router meldt het niet.",
    "thanks": "Dank u wel",
    "done_seen": "U hebt de melding gezien. Websites openen weer als voorheen.",
    "done_cleaned": "Uw antwoord is opgeslagen. {Provider} moet het apparaat nog vrijgeven.",
    "done_released": "Het apparaat geldt als schoon. Het filter blijft het in de gaten houden.",
    "done_server": "Uw antwoord is opgeslagen. {Provider} beslist of het apparaat zelf e-mail mag versturen.",
    "done_exempted": "Het apparaat mag voortaan zelf e-mail versturen.",
    "done_mistake": "Uw bezwaar is opgeslagen. Websites openen weer als voorheen.",
    "not_done": "Dat is niet gelukt",
    "done_refused": "Alleen het apparaat waar het om gaat, kan antwoorden. Open deze pagina daar en probeer het "
    "opnieuw.",
    "done_busy": "Er waren te veel antwoorden. Probeer het over een uur opnieuw.",
    "done_failed": "De router kon dit niet uitvoeren. Probeer het over een minuut opnieuw.",
    "h_quarantine": "Dit apparaat is in quarantaine",
    "quarantine": "Tot het schoon is, kan het geen internet gebruiken: het bereikt alleen deze pagina, de router en "
    "de hulppagina's van {provider}. Uw andere apparaten merken er niets van.",
    "quarantine_ends": "De quarantaine eindigt uiterlijk op {time}.",
    "quarantine_isp": "Nu kan alleen {provider} het apparaat vrijgeven. Neem telefonisch contact op.",
    "hint_cleaned_held": "Dit beëindigt de quarantaine meteen (nog {count} keer mogelijk). Het filter blijft het "
    "apparaat in de gaten houden.",
    "done_held": "Het apparaat blijft in quarantaine tot het wordt vrijgegeven.",
    "works_held": "Op dit apparaat: deze pagina, de eigen pagina van de router en de hulppagina's van {provider}. "
    "Uw andere apparaten werken zoals altijd.",
    "reach": "Meer op de pagina van de router:",
    "answer_there": "Heeft het apparaat een browser, dan kunt u daarop antwoorden:",
    "phone": "Telefonische hulp:",
    # ── the provider's mail and its short message ──
    "mail_subject": "Een apparaat bij u thuis vraagt uw aandacht",
    "mail_hello": "Geachte klant,",
    "mail_intro": "Het mailfilter op uw router heeft bij u thuis een apparaat gevonden dat uw aandacht vraagt.",
    "mail_device": "Apparaat",
    "mail_unnamed": "de naam staat op de pagina van uw router",
    "mail_case": "Referentienummer",
    "mail_page": "Uw router heeft hiervoor een eigen pagina (“Mailfilter”), met de naam van het apparaat en wat er is "
    "opgemerkt. Typ daarvoor in een browser het adres van de router, gevolgd door /mail-filter/. Het adres staat "
    "meestal op de router.",
    "mail_below": "De tekst in het Nederlands staat verderop.",
    "mail_safety": "Dit bericht vraagt niet om een wachtwoord en leidt niet naar een inlogpagina. Twijfelt u? Bel "
    "{provider} op het nummer dat u kent.",
    "mail_bye": "Met vriendelijke groet",
    "signature": "{Provider}",
    "sms": "{Provider}: een apparaat bij u thuis is waarschijnlijk besmet. In onze e-mail leest u wat u kunt doen.",
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
    "sender-unrelated": "Het verstuurt e-mail namens een domein waar het niet bij hoort.",
    "sender-rotates": "Het verstuurt e-mail onder veel verschillende afzenderdomeinen.",
    "new-pair": "Het schrijft onder steeds wisselende namen naar onbekenden.",
    "unauthenticated": "Het verstuurt e-mail zonder een account bij de mailserver.",
    "banner-refused": "Mailservers weigeren het zodra het contact zoekt.",
    "unknown-user": "Het schreef naar veel adressen die niet bestaan.",
    "dnsbl-listed": "Mailservers melden dat uw aansluiting op een zwarte lijst van spamverzenders staat.",
    "dnsbl-unlisted": "Een mailserver vond uw aansluiting niet op een zwarte lijst.",
    "residential-line": "Mailservers nemen geen e-mail aan die rechtstreeks van thuisaansluitingen komt.",
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
    "sender-is-recipient": "Het verstuurt e-mail die van de ontvanger zelf lijkt te komen.",
    "helo-is-recipient": "Het doet zich voor als de mailserver die het benadert.",
    "relayed": "Het geeft e-mail door voor iemand anders op internet, zoals proxyprogramma's in apps doen.",
    "from-router": "De router zelf verstuurt e-mail, wat hij nooit zou moeten doen.",
    "mx-lookup": "Het zoekt mailservers op zoals alleen mailservers dat doen.",
    "mx-foreign": "Het zoekt mailservers op buiten uw router om.",
    "message-content": "Het stuurt berichten naar onbekenden.",
}
