"""Texts for subscribers in German. For keys and placeholders see texts.notice.

Knows words. Must not know when they are used.
"""

TEXTS = {
    "provider_first": "Ihr Internetanbieter",
    "provider": "Ihr Internetanbieter",
    "months": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "moment": "{day}. {month} {year}, {hour}:{minute} Uhr",
    # ── the responder ──
    "refusal": "{Provider} hat diese Nachricht abgelehnt, nicht der Empfaenger: Von diesem Anschluss duerfen E-Mails "
    "nicht direkt an fremde Mailserver gehen. Bitte ueber den Server Ihres Mailanbieters senden, Port 587 oder 465.",
    # ── the page and the mail ──
    "standing_compromised": "Dieses Gerät verschickt E-Mails so, wie es Spam-Programme tun. Sehr wahrscheinlich ist es "
    "mit Schadsoftware befallen. Davon merkt man selbst meist nichts.",
    "first": "Zuerst bemerkt",
    "last": "Zuletzt bemerkt",
    "h_blocked": "Was gesperrt ist",
    "h_limited": "Was gedrosselt wird",
    "blocked_block": "E-Mails, die dieses Gerät direkt an fremde Mailserver schickt (Port 25).",
    "blocked_monitor": "Nichts. Der Filter beobachtet nur.",
    "h_works": "Was weiterhin funktioniert",
    "works": "Alles andere auf diesem Gerät: Websites, Videos, Webmail und E-Mails über Ihren Mailanbieter (Ports 587 "
    "und 465). Für Ihre anderen Geräte ändert sich nichts.",
    "h_steps": "Was zu tun ist, in drei Schritten",
    "step_1": "Trennen Sie das Gerät vom Internet: Ziehen Sie das Netzwerkkabel ab oder schalten Sie das WLAN des "
    "Geräts aus. Name und Hardware-Adresse helfen Ihnen, es zu finden.",
    "step_2": "Säubern Sie es: Installieren Sie alle Updates, entfernen Sie Programme, die Sie nicht kennen, und "
    "lassen Sie es von einem Virenscanner prüfen. Ist es eine TV-Box, eine Kamera oder Ähnliches, setzen Sie es auf "
    "die Werkseinstellungen zurück und vergeben Sie ein neues Passwort.",
    "step_3": "Melden Sie, dass es sauber ist: Wählen Sie „Ich habe dieses Gerät gesäubert“ unter „Mailfilter“ in den "
    "Einstellungen des Routers oder sagen Sie es Ihrem Anbieter ({provider}).",
    "step_3_here": "Melden Sie, dass es sauber ist: Wählen Sie auf dieser Seite „{answer}“.",
    "then_free": "Danach darf es wieder selbst E-Mails verschicken; der Filter beobachtet es weiter.",
    "then_block": "Danach gilt es als sauber; der Filter beobachtet es weiter. Wie auf allen Ihren Geräten gehen "
    "E-Mails weiterhin nur über Ihren Mailanbieter (Ports 587 und 465).",
    "then_watch": "Danach gilt es als sauber; der Filter beobachtet es weiter.",
    "h_own": "Betreiben Sie einen eigenen Mailserver?",
    "own": "Dann erlauben Sie dem Gerät, selbst E-Mails zu verschicken: Wählen Sie „Das ist mein Mailserver“ unter "
    "„Mailfilter“ in den Einstellungen des Routers oder sagen Sie es Ihrem Anbieter ({provider}).",
    "h_object": "Wenn Sie nicht einverstanden sind",
    "object": "Sie können jederzeit widersprechen. Wenden Sie sich an Ihren Anbieter ({provider}) und nennen Sie das "
    "Gerät und die hier angegebenen Zeiten.",
    "help": "Hilfe und Widerspruch:",
    # ── the page ──
    "title": "Ihre Geräte und E-Mail",
    "h_action_one": "Ein Gerät braucht Ihre Aufmerksamkeit",
    "h_action_many": "{count} Geräte brauchen Ihre Aufmerksamkeit",
    "h_none": "Sie müssen nichts tun",
    "lead_action": "Auf diesem Router läuft ein Mailfilter, damit befallene Geräte keinen Spam über Ihren Anschluss "
    "verschicken. {Provider} stellt ihn bereit. Der Filter hat etwas gefunden, um das Sie sich kümmern sollten.",
    "lead_none": "Auf diesem Router läuft ein Mailfilter, damit befallene Geräte keinen Spam über Ihren Anschluss "
    "verschicken. {Provider} stellt ihn bereit. Der Filter hat nichts gefunden, um das Sie sich kümmern müssten.",
    "lead_question": "Auf diesem Router läuft ein Mailfilter, damit befallene Geräte keinen Spam über Ihren Anschluss "
    "verschicken. {Provider} stellt ihn bereit. Der Filter hat nichts gefunden, was er sperren müsste, hat aber eine "
    "Frage an Sie.",
    "action": "Handlungsbedarf",
    "no_action": "Kein Handlungsbedarf",
    "since": "seit {time}",
    "h_question": "Ist das Ihr Mailserver?",
    "standing_unusual": "Dieses Gerät verschickt E-Mails wie ein Mailserver. Wenn Sie darauf einen Mailserver "
    "betreiben, erlauben Sie ihn, dann lässt der Filter ihn in Ruhe. Wenn nicht, verschickt vielleicht ein Programm "
    "darauf E-Mails ohne Ihr Wissen: Prüfen Sie das Gerät.",
    "standing_clear": "Nichts Ungewöhnliches.",
    "released": "Dieses Gerät wurde am {time} als gesäubert gemeldet. Der Filter beobachtet es noch eine Weile.",
    "cleared": "In Ordnung seit {time}: Der Filter sieht an diesem Gerät nichts Auffälliges mehr.",
    "h_noticed": "Was bemerkt wurde",
    "h_connections": "Verbindungen zu fremden Mailservern",
    "connections": "{count}, davon {refused} abgelehnt",
    "unnamed": "Gerät ohne Namen",
    "router": "Der Router selbst",
    "home": "Ein unbekanntes Gerät in Ihrem Heimnetz",
    "behind": "Hinter einem weiteren Router",
    "maker": "Herstellerkennung {oui}",
    "random": "Zufällige Hardware-Adresse",
    "tail": "Hardware-Adresse endet auf {tail}",
    "step_router": "Das ist der Router selbst. Bitte wenden Sie sich an Ihren Anbieter ({provider}): Der Router muss "
    "aktualisiert oder ausgetauscht werden.",
    "step_home": "Der Filter kann nicht erkennen, welches Gerät das ist, weil es ständig seine Adresse wechselt. "
    "Geräte, die Ihr Router kennt, sind nicht betroffen. Prüfen Sie die Geräte, die zuletzt dazugekommen sind, und "
    "wenden Sie sich an Ihren Anbieter ({provider}), wenn Sie Hilfe brauchen.",
    "h_others": "Andere Geräte, die E-Mails verschickt haben",
    "more_devices": "Und {count} weitere.",
    "nothing": "Bisher hat kein Gerät E-Mails direkt an einen Mailserver geschickt.",
    "blocked_all": "Von diesem Anschluss darf kein Gerät E-Mails direkt an fremde Mailserver schicken (Port 25), es "
    "sei denn, Sie erlauben es. E-Mails über Ihren Mailanbieter sind nicht betroffen.",
    "h_privacy": "Was der Filter sieht",
    "privacy": "Er betrachtet nur E-Mails, die Geräte direkt an Mailserver schicken (Port 25): welche Server sie "
    "ansprechen, wie sie sich vorstellen, was die Server antworten und wie viel verschickt wird. Außerdem zählt er, "
    "wie oft ein Gerät Mailserver nachschlägt und wie oft es sich mit Mailanbietern verbindet (Ports 587 und 465). "
    "Der Inhalt von Nachrichten wird nie gelesen, E-Mail-Adressen werden nicht gespeichert.",
    "privacy_local": "Nichts davon verlässt Ihr Zuhause.",
    "privacy_reports": "{Provider} erfährt, wenn ein Gerät vermutlich befallen ist oder wie ein Mailserver aussieht: "
    "Zeiten, Mengen, Anzeichen, Art des Geräts, Herstellerkennung und Ihre Antwort auf den Hinweis, unter einem "
    "Pseudonym; außerdem einmal am Tag, dass der Filter arbeitet. Inhalte und E-Mail-Adressen werden nie "
    "weitergegeben.",
    "privacy_names": "Auch der Name, den sich das Gerät selbst gibt, wird weitergegeben.",
    "as_of": "Stand: {time} ({zone}). Laden Sie die Seite neu, um den neuesten Stand zu sehen.",
    # ── the notice that is served ──
    "h_not_here": "Nichts zu diesem Gerät",
    "lead_not_here": "Auf diesem Router läuft ein Mailfilter, damit befallene Geräte keinen Spam über Ihren Anschluss "
    "verschicken. {Provider} stellt ihn bereit. Zu dem Gerät, auf dem Sie dies lesen, hat der Filter nichts zu melden.",
    "h_answer": "Ihre Antwort",
    "answer_seen": "Ich habe das gesehen",
    "hint_seen": "Websites öffnen sich sofort wieder. Für die E-Mails des Geräts ändert sich nichts.",
    "hint_seen_other": "Diese Seite erscheint hier nicht mehr. Auf dem betroffenen Gerät erscheint sie weiterhin.",
    "answer_cleaned": "Ich habe dieses Gerät gesäubert",
    "hint_cleaned": "Es gilt als sauber; der Filter beobachtet es weiter.",
    "hint_cleaned_isp": "Ihr Anbieter ({provider}) erfährt davon und gibt es frei.",
    "answer_server": "Das ist mein Mailserver",
    "hint_server": "Er darf ab sofort selbst E-Mails verschicken.",
    "hint_server_isp": "Ihr Anbieter ({provider}) erfährt davon und entscheidet.",
    "answer_mistake": "Das ist ein Irrtum",
    "hint_mistake": "Ihr Anbieter ({provider}) erfährt, dass Sie widersprechen.",
    "hint_tell": "Sagen Sie es bitte auch selbst Ihrem Anbieter ({provider}): Dieser Router meldet es nicht.",
    "thanks": "Vielen Dank",
    "done_seen": "Sie haben den Hinweis gesehen. Websites öffnen sich wie zuvor.",
    "done_cleaned": "Ihre Antwort ist gespeichert. Ihr Anbieter ({provider}) muss das Gerät noch freigeben.",
    "done_released": "Das Gerät gilt als sauber. Der Filter beobachtet es weiter.",
    "done_server": "Ihre Antwort ist gespeichert. Ihr Anbieter ({provider}) entscheidet, ob das Gerät selbst E-Mails "
    "verschicken darf.",
    "done_exempted": "Das Gerät darf ab sofort selbst E-Mails verschicken.",
    "done_mistake": "Ihr Widerspruch ist gespeichert. Websites öffnen sich wie zuvor.",
    "not_done": "Das hat nicht geklappt",
    "done_refused": "Nur das betroffene Gerät selbst kann antworten. Öffnen Sie diese Seite dort und versuchen Sie es "
    "noch einmal.",
    "done_busy": "Es waren zu viele Antworten. Bitte versuchen Sie es in einer Stunde noch einmal.",
    "done_failed": "Der Router konnte das nicht ausführen. Bitte versuchen Sie es in einer Minute noch einmal.",
    "h_quarantine": "Dieses Gerät ist in Quarantäne",
    "quarantine": "Bis es sauber ist, kann es das Internet nicht benutzen: Es erreicht nur diese Seite, den Router "
    "und die Hilfeseiten Ihres Anbieters ({provider}). Ihre anderen Geräte sind nicht betroffen.",
    "quarantine_ends": "Die Quarantäne endet spätestens am {time}.",
    "quarantine_isp": "Jetzt kann nur Ihr Anbieter ({provider}) das Gerät freigeben. Bitte rufen Sie an.",
    "hint_cleaned_held": "Das beendet die Quarantäne sofort (noch {count}-mal möglich). Der Filter beobachtet das "
    "Gerät weiter.",
    "done_held": "Das Gerät bleibt in Quarantäne, bis es freigegeben wird.",
    "works_held": "Auf diesem Gerät: diese Seite, die Seite des Routers und die Hilfeseiten Ihres Anbieters "
    "({provider}). Ihre anderen Geräte funktionieren wie bisher.",
    "reach": "Mehr dazu auf der Seite des Routers:",
    "answer_there": "Wenn das Gerät einen Browser hat, können Sie dort antworten:",
    "phone": "Telefonische Hilfe:",
    # ── the provider's mail and its short message ──
    "mail_subject": "Ein Gerät bei Ihnen zu Hause braucht Ihre Aufmerksamkeit",
    "mail_hello": "Guten Tag,",
    "mail_intro": "der Mailfilter auf Ihrem Router hat bei Ihnen zu Hause ein Gerät gefunden, das Ihre Aufmerksamkeit "
    "braucht.",
    "mail_device": "Gerät",
    "mail_unnamed": "der Name steht auf der Seite Ihres Routers",
    "mail_case": "Vorgangsnummer",
    "mail_page": "Ihr Router hat dafür eine eigene Seite („Mailfilter“): Sie nennt das Gerät beim Namen und zeigt, was "
    "bemerkt wurde. Geben Sie dazu im Browser die Adresse des Routers ein, gefolgt von /mail-filter/. Die Adresse "
    "steht meist auf dem Router.",
    "mail_below": "Der Text auf Deutsch folgt weiter unten.",
    "mail_safety": "Diese Nachricht fragt nach keinem Passwort und führt zu keiner Anmeldeseite. Im Zweifel rufen Sie "
    "Ihren Anbieter ({provider}) unter der Ihnen bekannten Nummer an.",
    "mail_bye": "Freundliche Grüße",
    "signature": "{Provider}",
    "sms": "{Provider}: Ein Geraet bei Ihnen zu Hause ist vermutlich befallen. Was zu tun ist, steht in unserer "
    "E-Mail.",
}

NOTICED = {
    "new-destination": "Es hat Mailserver in aller Welt angesprochen, die es nie zuvor benutzt hatte.",
    "breadth": "Ein einzelnes Programm darauf schreibt an viele verschiedene Mailserver.",
    "destination-burst": "Es hat innerhalb einer Minute viele neue Mailserver angesprochen.",
    "sustained": "Es spricht Stunde um Stunde neue Mailserver an.",
    "connect-refused": "Es hat versucht, Mailserver zu erreichen, die Verbindungen ablehnen.",
    "connect-timeout": "Es hat versucht, Mailserver zu erreichen, die nicht antworten.",
    "helo-dynamic": "Es stellt sich mit einem erfundenen technischen Namen vor.",
    "helo-address": "Es stellt sich mit einer Nummer statt mit einem Namen vor.",
    "helo-private": "Es stellt sich mit einer Adresse vor, die es nur bei Ihnen zu Hause gibt.",
    "helo-unqualified": "Es stellt sich mit einem einzigen Wort vor.",
    "helo-empty": "Es stellt sich ganz ohne Namen vor.",
    "helo-rotates": "Es stellt sich unter ständig wechselnden Namen vor.",
    "helo-domain-rotates": "Es stellt sich mit Namen vieler verschiedener Firmen vor.",
    "sender-unrelated": "Es verschickt E-Mails im Namen einer Domain, die nicht seine eigene ist.",
    "sender-rotates": "Es verschickt E-Mails unter vielen verschiedenen Absender-Domains.",
    "new-pair": "Es schreibt unter ständig wechselnden Namen an Fremde.",
    "unauthenticated": "Es verschickt E-Mails ohne ein Konto beim Mailserver.",
    "banner-refused": "Mailserver weisen es ab, sobald es sich meldet.",
    "unknown-user": "Es hat an viele Adressen geschrieben, die es nicht gibt.",
    "dnsbl-listed": "Mailserver melden, dass Ihr Anschluss auf einer Sperrliste für Spam-Versender steht.",
    "dnsbl-unlisted": "Ein Mailserver fand Ihren Anschluss auf keiner Sperrliste.",
    "residential-line": "Mailserver nehmen keine E-Mails direkt von Privatanschlüssen an.",
    "refused": "Mailserver haben abgelehnt, was es verschickt hat.",
    "deferred": "Ein Mailserver hat es gebeten, es später noch einmal zu versuchen.",
    "tls-too-short": "Seine verschlüsselten Verbindungen zu Mailservern enden, bevor eine Nachricht gesendet wird.",
    "early-talk": "Es verhält sich wie ein Spam-Programm: Es wartet die Begrüßung des Servers nicht ab.",
    "blind-pipelining": "Es verhält sich wie ein Spam-Programm: Es wartet keine Antworten ab.",
    "content-after-refusal": "Es verhält sich wie ein Spam-Programm: Es sendet, obwohl es abgelehnt wurde.",
    "not-smtp": "Es benutzt den Mail-Port für etwas anderes.",
    "no-quit": "Es beendet Verbindungen so, wie es Spam-Programme tun.",
    "path-spaced": "Es schreibt Mail-Befehle so, wie es Spam-Programme tun.",
    "helo-not-ehlo": "Es benutzt eine veraltete Begrüßung, wie viele Spam-Programme.",
    "declines-tls": "Es verschlüsselt nicht, obwohl es das könnte.",
    "verb-case": "Es schreibt Mail-Befehle so, wie es Spam-Programme tun.",
    "many-recipients": "Es schreibt an sehr viele Empfänger auf einmal.",
    "sender-is-recipient": "Es verschickt E-Mails, die vom Empfänger selbst zu kommen scheinen.",
    "helo-is-recipient": "Es gibt sich als der Mailserver aus, den es anspricht.",
    "relayed": "Es leitet E-Mails für jemand anderen im Internet weiter, wie es Proxy-Programme in Apps tun.",
    "from-router": "Der Router selbst verschickt E-Mails, was er nie tun sollte.",
    "mx-lookup": "Es schlägt Mailserver nach, wie es nur Mailserver tun.",
    "mx-foreign": "Es schlägt Mailserver an Ihrem Router vorbei nach.",
    "message-content": "Es schickt Nachrichten an Fremde.",
}
