"""Texts for subscribers in English. For keys and placeholders see texts.notice; findings are in detect.evidence.

Knows words. Must not know when they are used.
"""

TEXTS = {
    "provider_first": "Your Internet provider",
    "provider": "your Internet provider",
    "months": "January February March April May June July August September October November December",
    "moment": "{day} {month} {year}, {hour}:{minute}",
    # ── the responder ──
    "refusal": "{Provider}, not the recipient, refused this message: mail may not go straight from this line to other "
    "mail servers. Send it through your mail service's server, port 587 or 465.",
    # ── the page and the mail ──
    "standing_compromised": "This device sends e-mail the way spam programs do. It is most likely infected with "
    "malicious software. Owners rarely notice this themselves.",
    "first": "First noticed",
    "last": "Last noticed",
    "h_blocked": "What is blocked",
    "h_limited": "What is slowed down",
    "blocked_block": "E-mail that this device sends straight to other mail servers (port 25).",
    "blocked_monitor": "Nothing. The filter only watches.",
    "h_works": "What still works",
    "works": "Everything else on this device: websites, video, webmail, and e-mail through your mail service (ports "
    "587 and 465). Nothing changes for your other devices.",
    "h_steps": "What to do, in three steps",
    "step_1": "Disconnect the device from the Internet: unplug its network cable or switch off its Wi-Fi. Its name and "
    "hardware address help you find it.",
    "step_2": "Clean it: install all updates, remove programs that you do not know, and run a virus scanner. If it is "
    "a TV box, a camera or the like, reset it to factory settings and set a new password.",
    "step_3": "Report that it is clean: choose “I have cleaned this device” under “Mail filter” in the router's "
    "settings, or tell {provider}.",
    "step_3_here": "Report that it is clean: choose “{answer}” on this page.",
    "then_free": "After that it may send mail itself again, and the filter keeps watching it.",
    "then_block": "After that it counts as clean, and the filter keeps watching it. As on all your devices, mail still "
    "has to go through your mail service (ports 587 and 465).",
    "then_watch": "After that it counts as clean, and the filter keeps watching it.",
    "h_own": "Do you run your own mail server?",
    "own": "Then allow its device to send mail itself: choose “This is my mail server” under “Mail filter” in the "
    "router's settings, or tell {provider}.",
    "h_object": "If you disagree",
    "object": "You can object at any time. Contact {provider}, and give the device and the times shown here.",
    "help": "Help and objections:",
    # ── the page ──
    "title": "Your devices and e-mail",
    "h_action_one": "One device needs your attention",
    "h_action_many": "{count} devices need your attention",
    "h_none": "No action required",
    "lead_action": "A mail filter of {provider} runs on this router, so that infected devices cannot send spam from "
    "your connection. It has found something that needs your attention.",
    "lead_none": "A mail filter of {provider} runs on this router, so that infected devices cannot send spam from your "
    "connection. It has found nothing that needs your attention.",
    "lead_question": "A mail filter of {provider} runs on this router, so that infected devices cannot send spam from "
    "your connection. It has found nothing to block, but it has a question.",
    "action": "Action required",
    "no_action": "No action required",
    "since": "since {time}",
    "h_question": "Is this your mail server?",
    "standing_unusual": "This device sends e-mail as a mail server does. If you run a mail server on it, allow it, so "
    "that the filter leaves it alone. If you do not, a program on it may be sending mail without your knowledge: "
    "check the device.",
    "standing_clear": "Nothing unusual.",
    "released": "On {time} this device was reported as cleaned. The filter watches it for a while.",
    "cleared": "Clear since {time}: the filter sees nothing wrong with this device any more.",
    "h_noticed": "What was noticed",
    "h_connections": "Connections to other mail servers",
    "connections": "{count}, of which {refused} were refused",
    "unnamed": "Device without a name",
    "router": "The router itself",
    "home": "An unknown device in your home",
    "behind": "Behind another router",
    "maker": "Manufacturer code {oui}",
    "random": "Random hardware address",
    "tail": "Hardware address ends in {tail}",
    "step_router": "This is the router itself. Please tell {provider}: it has to be updated or replaced.",
    "step_home": "The filter cannot tell which device this is, because it keeps changing its address. Devices that "
    "your router knows are not affected. Check the devices that you added last, and ask {provider} if you need help.",
    "h_others": "Other devices that have sent mail",
    "more_devices": "And {count} more.",
    "nothing": "No device has sent mail straight to a mail server so far.",
    "blocked_all": "No device on this connection may send mail straight to other mail servers (port 25), unless you "
    "allow it. E-mail through your mail service is not affected.",
    "h_privacy": "What the filter sees",
    "privacy": "It looks only at mail that devices send straight to mail servers (port 25): which servers they "
    "contact, how they introduce themselves, what the servers answer, and how much is sent. It also counts how often "
    "a device looks up mail servers and how often it connects to mail services (ports 587 and 465). The content of "
    "messages is never read, and no e-mail address is kept.",
    "privacy_local": "None of this leaves your home.",
    "privacy_reports": "{Provider} gets a report when a device is probably infected or looks like a mail server: "
    "times, numbers, signs, the kind of device, the manufacturer code and your answer to the notice, under a random "
    "identifier. Once a day it also learns that the filter works. Contents and e-mail addresses are never reported.",
    "privacy_names": "The name that the device gives itself is reported, too.",
    "as_of": "As of {time} ({zone}). Reload this page for updates.",
    # ── the notice that is served ──
    "h_not_here": "Nothing about this device",
    "lead_not_here": "A mail filter of {provider} runs on this router, so that infected devices cannot send spam from "
    "your connection. It has nothing to report about the device on which you are reading this.",
    "h_answer": "Your answer",
    "answer_seen": "I have seen this",
    "hint_seen": "Websites open again at once. Nothing changes for the device's e-mail.",
    "hint_seen_other": "This page no longer appears here. It still appears on the device itself.",
    "answer_cleaned": "I have cleaned this device",
    "hint_cleaned": "It counts as clean, and the filter keeps watching it.",
    "hint_cleaned_isp": "{Provider} is informed and releases it.",
    "answer_server": "This is my mail server",
    "hint_server": "From now on it may send mail itself.",
    "hint_server_isp": "{Provider} is informed and decides.",
    "answer_mistake": "This is a mistake",
    "hint_mistake": "{Provider} is informed that you object.",
    "hint_tell": "Please tell {provider} yourself, too: this router does not report it.",
    "thanks": "Thank you",
    "done_seen": "You have seen the notice. Websites open as before.",
    "done_cleaned": "Your answer is saved. {Provider} has to release the device.",
    "done_released": "The device counts as clean. The filter keeps watching it.",
    "done_server": "Your answer is saved. {Provider} decides whether the device may send mail itself.",
    "done_exempted": "From now on the device may send mail itself.",
    "done_mistake": "Your objection is saved. Websites open as before.",
    "not_done": "This did not work",
    "done_refused": "Only the device that the notice is about can answer. Open this page on it and try again.",
    "done_busy": "There were too many answers. Please try again in an hour.",
    "done_failed": "The router could not do this. Please try again in a minute.",
    "h_quarantine": "This device is in quarantine",
    "quarantine": "Until it is clean, it cannot use the Internet: it reaches this page, the router and the help "
    "pages of {provider}, and nothing else. Your other devices are not affected.",
    "quarantine_ends": "The quarantine ends on {time} at the latest.",
    "quarantine_isp": "Now only {provider} can release the device. Please call.",
    "hint_cleaned_held": "This ends the quarantine at once ({count} times left). The filter keeps watching the device.",
    "done_held": "The device stays in quarantine until it is released.",
    "works_held": "On this device: this page, the router's own page, and the help pages of {provider}. Your other "
    "devices work as before.",
    "reach": "More on the router's own page:",
    "answer_there": "If the device has a browser, you can answer on it:",
    "phone": "Help by phone:",
    # ── the provider's mail and its short message ──
    "mail_subject": "A device in your home needs your attention",
    "mail_hello": "Dear customer,",
    "mail_intro": "The mail filter on your router has found a device in your home that needs your attention.",
    "mail_device": "Device",
    "mail_unnamed": "its name is on your router's page",
    "mail_case": "Case number",
    "mail_page": "Your router has a page of its own (“Mail filter”) that names the device and says what was noticed. "
    "To open it, type the router's address into a browser, followed by /mail-filter/. The address is usually printed "
    "on the router.",
    "mail_below": "The text in English follows below.",
    "mail_safety": "This message asks for no password and leads to no login page. If in doubt, call {provider} at the "
    "number that you know.",
    "mail_bye": "Kind regards",
    "signature": "{Provider}",
    "sms": "{Provider}: a device in your home is probably infected. Our e-mail to you says what to do.",
}
