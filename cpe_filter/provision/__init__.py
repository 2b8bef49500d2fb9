"""The ISP's signed documents on a router: laid over its own policy, tried, and confirmed or taken back.

    place     where this router has its files, and which router it is
    overlay   a document's tables over the router's policy; what a document may not set
    folder    the documents on flash, a folder for each type: in force, tried, refused; whole after a power cut
    effective the policy that counts: the router's own with all documents in force over it
    judge     whether a document may be tried here and now
    running   whether the running filter has the documents that it was given
    trial     what must work after a change if it worked before
    apply     a trial from its beginning to its end
    fetch     a document over HTTPS
    http_answer  what a web server says, read strictly
    etags     which documents need not be fetched again
    news      what has become of documents, on flash, for the running filter to report
    shown     what is in force, tried and refused, for `policy status`
    command   `cpe-filter policy verify|fetch|apply|status|rollback|make`

Types: `policy`, `table` (rates of the detector), `replies` (wordings of refusals). Knows signed documents (signed) and
policies (policy). Must not know packets, devices or how the filter decides. For short-lived processes: the running
filter never imports it.
"""
