"""The filter in the data model of the Broadband Forum, for TR-069 (CWMP) and TR-369 (USP): a vendor's extension.

    python -m tools.data_model [FOLDER] [--vendor X_EXAMPLE-COM]

    model     the parameters, made from the policy's keys and UCI's options, and what is left out and why
    dm_xml    as DM-XML (TR-106), a file for each protocol
    bbfdm     as a JSON plugin for bbfdm, which serves CWMP and USP on OpenWrt
    page      as the tables of docs/tr069.md

Must not be part of what runs. An ISP makes the files again with a vendor prefix of its own (TR-106, section 3.3).
"""
