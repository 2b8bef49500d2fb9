"""The validation set's legitimate senders by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from tests.evaluate.world.delivery import Attempts
from tests.evaluate.world.validation import legit_bulk as bulk
from tests.evaluate.world.validation import legit_devices as devices
from tests.evaluate.world.validation import legit_people as people
from tests.evaluate.world.validation import legit_servers as servers
from tests.evaluate.world.validation import legit_software as software

LEGITIMATE: Mapping[str, Callable[[random.Random, int], Attempts]] = {
    "yunohost-family": servers.yunohost_family,
    "mailcow-club": servers.mailcow_club,
    "forwarding-server": servers.forwarding_server,
    "alias-server": servers.alias_server,
    "exchange-hybrid": servers.exchange_hybrid,
    "mox-server": servers.mox_server,
    "report-sender": servers.report_sender,
    "vacation-replies": servers.vacation_replies,
    "chatmail-relay": servers.chatmail_relay,
    "fetch-and-deliver": servers.fetch_and_deliver,
    "sender-checks": servers.sender_checks,
    "discourse-forum": software.discourse_forum,
    "fediverse-signups": software.fediverse_signups,
    "site-forms": software.site_forms,
    "shop-with-odoo": software.shop_with_odoo,
    "till-receipts": software.till_receipts,
    "gitlab": software.gitlab,
    "zabbix": software.zabbix,
    "proxmox-node": software.proxmox_node,
    "cron-mail": software.cron_mail,
    "truenas": software.truenas,
    "voicemail": software.voicemail,
    "smtp-monitor": software.smtp_monitor,
    "starttls-census": software.starttls_census,
    "signup-checks": software.signup_checks,
    "greylist-tester": software.greylist_tester,
    "parish-newsletter": bulk.parish_newsletter,
    "school-letters": bulk.school_letters,
    "invoices-by-windows": bulk.invoices_by_windows,
    "listmonk": bulk.listmonk,
    "parents-mailman": bulk.parents_mailman,
    "radio-club": bulk.radio_club,
    "office-scanner": devices.office_scanner,
    "solar-logger": devices.solar_logger,
    "alarm-panel": devices.alarm_panel,
    "doorbell-cameras": devices.doorbell_and_cameras,
    "house-of-things": devices.house_of_things,
    "outlook-on-25": people.outlook_on_25,
    "phones-and-apps": people.phones_and_apps,
    "tunnel-travellers": people.tunnel_for_travellers,
    "families-vpn": people.families_vpn,
    "landlords-router": people.landlords_router,
    "office-nat": people.office_nat,
    "holiday-flat": people.holiday_flat,
    "student-of-mail": people.student_of_mail,
}
