"""The ISP's signed policy on a router: laid over the router's own, tried, and confirmed or taken back.

    overlay   a document's tables over the router's policy; what a document may not set
    folder    the documents on flash: in force, tried, refused; whole after a power cut at any moment
    trial     what must work after a change if it worked before
    command   `cpe-filter policy verify|apply|status|rollback|make`

Knows signed documents (signed) and policies (policy). Must not know packets, devices or how the filter decides. For
short-lived processes: the running filter never imports it.
"""
