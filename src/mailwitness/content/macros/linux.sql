-- Linux: what a path is to a mail system. The order decides: an index lies inside a Maildir, a rule inside a home.
CREATE MACRO mw_store_kind(p) AS CASE
  WHEN p IS NULL OR p = '' OR left(p, 1) <> '/' THEN ''
  WHEN regexp_matches(p, '^/var/log/(?:mail|maillog|exim|dovecot|syslog|messages|auth\.log|secure|audit|journal|sudo|rspamd|sendmail)') THEN 'log'
  WHEN regexp_matches(p, '/dovecot(?:\.index|\.list\.index|\.map\.index|-uidlist|\.mailbox\.log|-uidvalidity)') THEN 'index'
  WHEN regexp_matches(p, '(?:\.sieve|\.svbin|/\.forward|/\.procmailrc|/\.mailfilter|/msgFilterRules\.dat|/\.vacation\.msg)$|/sieve/') THEN 'rules'
  WHEN regexp_matches(p, '^/etc/(?:postfix|dovecot|exim4?|mail|rspamd)/|^/etc/aliases|^/etc/rsyslog') THEN 'settings'
  WHEN regexp_matches(p, '^/var/spool/(?:postfix/(?:deferred|active|incoming|hold|maildrop|defer|bounce|corrupt|saved)|exim4?/(?:input|msglog)|mqueue|clientmqueue)/') THEN 'queue'
  WHEN regexp_matches(p, '^/var/mail/(?:[^/]*\.lock[^/]*|\.[^/]*)$') THEN 'lock'
  WHEN regexp_matches(p, '^/var/mail/(?:mu[A-Za-z0-9]{6}|sed[A-Za-z0-9]{6}|0+|[^/]*\.(?:tmp|bak|[0-9]{3,})[^/]*)$') THEN 'temporary'
  WHEN regexp_matches(p, '^/var/mail/.*/(?:cur|new)/[^/]+$') THEN 'maildir'
  WHEN regexp_matches(p, '^/var/mail/.*/tmp/[^/]+$') THEN 'temporary'
  -- Whatever else lies below the spool counts: a copy inside the store is still mail.
  WHEN regexp_matches(p, '^/var/mail/.*[^/]$') THEN 'mbox'
  WHEN regexp_matches(p, '/(?:Maildir|maildir|\.maildir)/(?:.*/)?tmp/|/(?:cur|new)/sed[A-Za-z0-9]{6}$') THEN 'temporary'
  WHEN regexp_matches(p, '/(?:Maildir|maildir|\.maildir)/(?:.*/)?(?:cur|new)/[^/]+$|^/var/(?:vmail|spool/vmail)/.*/(?:cur|new)/[^/]+$') THEN 'maildir'
  WHEN regexp_matches(p, '/(?:mdbox|sdbox)/.*/(?:m\.[0-9]+|u\.[0-9]+)$') THEN 'dbox'
  WHEN regexp_matches(p, '/(?:Maildir|maildir|\.maildir)(?:/|$)|^/var/(?:vmail|spool/vmail)/|/(?:mdbox|sdbox)(?:/|$)') THEN 'folder'
  WHEN regexp_matches(p, '/home/[^/]+/(?:mbox|mail/[^/]+|Mail/[^/]+)$') THEN 'mbox'
  ELSE '' END;

-- Whose mail a path holds: /var/mail/bob, /home/alice/Maildir/..., /var/vmail/contoso.example/eva/... (as eva@contoso.example).
CREATE MACRO mw_store_owner(p) AS CASE
  WHEN p IS NULL OR left(p, 1) <> '/' THEN ''
  WHEN regexp_matches(p, '^/var/mail/(?:vhosts/|virtual/)?[^/]+\.[^/]+/[^/]+/') THEN
    regexp_extract(p, '^/var/mail/(?:vhosts/|virtual/)?[^/]+/([^/]+)/', 1) || '@' || regexp_extract(p, '^/var/mail/(?:vhosts/|virtual/)?([^/]+)/', 1)
  WHEN regexp_matches(p, '^/var/mail/[^/]+/(?:.*/)?(?:cur|new|tmp)/') THEN regexp_extract(p, '^/var/mail/([^/]+)/', 1)
  WHEN starts_with(p, '/var/mail/') THEN regexp_extract(p, '^/var/mail/(?:.*/)?([^/]+?)(?:\.lock[^/]*)?$', 1)
  WHEN regexp_matches(p, '^/var/(?:spool/)?vmail/[^/]+\.[^/]+/[^/]+') THEN
    regexp_extract(p, '^/var/(?:spool/)?vmail/[^/]+/([^/]+)', 1) || '@' || regexp_extract(p, '^/var/(?:spool/)?vmail/([^/]+)', 1)
  WHEN starts_with(p, '/root/') THEN 'root'
  ELSE regexp_extract(p, '^(?:/var)?/(?:home|Users|vmail)/([^/]+)/', 1) END;

-- The command behind sudo, nohup and the like.
CREATE MACRO mw_command(c) AS
  regexp_replace(ltrim(c), '^(?:(?:\S*/)?(?:sudo|doas|nohup|env|time|command|exec|nice|ionice|setsid)\s+(?:-[A-Za-z]+\s+|--\S+\s+|-u\s*\S+\s+|\w+=\S+\s+)*)+', '');

CREATE MACRO mw_command_name(c) AS regexp_extract(c, '^(?:\S*/)?([^\s/;|&]+)', 1);

CREATE MACRO mw_linux_command_kind(s, t) AS CASE
  WHEN t IN ('rm', 'unlink', 'shred', 'truncate', 'dd', 'wipe', 'srm', 'mv', 'ln') AND regexp_matches(s, '/var/log/(?:mail|maillog|exim|dovecot|syslog|messages|auth|secure|audit|journal|sudo|rspamd)') THEN 'LogCleared'
  WHEN t IN ('sed', 'perl') AND regexp_matches(s, '\s-[a-zA-Z]*i') AND contains(s, '/var/log/') THEN 'LogCleared'
  WHEN t IN ('cp', 'tee') AND regexp_matches(s, '/dev/null.*/var/log/|^\S*tee\s+/var/log/') THEN 'LogCleared'
  WHEN t = 'find' AND regexp_matches(s, '\s/var/log') AND regexp_matches(s, '\s-(?:delete|exec(?:dir)?\s+\S*(?:rm|shred|unlink|truncate))\b') AND NOT contains(s, '.gz') THEN 'LogCleared'
  WHEN t IN ('rm', 'shred') AND regexp_matches(s, '\s/var/log/?(?:\*|\s|$)') THEN 'LogCleared'
  WHEN starts_with(t, 'python') AND regexp_matches(s, '/var/log/(?:mail|maillog|exim|dovecot|syslog|messages|auth|secure|audit|journal|sudo)') AND regexp_matches(s, '\b(?:unlink|remove|truncate|rmtree)\b|open\([^)]*[''"][wr]\+?b?[''"]\)') THEN 'LogCleared'
  WHEN t = 'journalctl' AND regexp_matches(s, '--(?:vacuum|rotate|flush)') THEN 'LogCleared'
  WHEN t = 'logrotate' AND regexp_matches(s, '\s(?:-[a-z]*f|--force)') THEN 'LogCleared'
  WHEN t = 'history' AND regexp_matches(s, '\s-[a-z]*c') THEN 'LogCleared'
  WHEN regexp_matches(s, '(?:^|[^>])>\s*/var/log/(?:mail|maillog|exim|dovecot|syslog|messages|auth|secure|audit|sudo)') THEN 'LogCleared'
  WHEN t = 'auditctl' AND regexp_matches(s, '\s-(?:D|d|W|e\s*0)') THEN 'LoggingStopped'
  WHEN t IN ('systemctl', 'service', 'rc-service', 'invoke-rc.d') AND regexp_matches(s, '\b(?:stop|disable|mask|kill)\b') AND regexp_matches(s, '\b(?:rsyslogd?|syslog(?:-ng|\.socket)?|auditd|systemd-journald|laurel)\b') THEN 'LoggingStopped'
  WHEN t IN ('kill', 'pkill', 'killall', 'bash', 'sh', 'dash', 'zsh') AND regexp_matches(s, '\b(?:kill|pkill|killall)\s.*\b(?:rsyslogd?|syslog-ng|syslogd|auditd|systemd-journald|laurel)\b') THEN 'LoggingStopped'
  -- Exim starts itself for every delivery; only what is done to the queue by hand counts.
  WHEN t IN ('exim', 'exim4') THEN CASE WHEN regexp_matches(s, '\s-(?:M(?:rm|mad|mar|md|f|g|es|eb|t|vb|vh|vc|vl|vp)|bp)') THEN 'CommandExecuted' ELSE '' END
  WHEN t IN ('doveadm', 'postsuper', 'postconf', 'postfix', 'postmap', 'exiqgrep', 'exim_checkaccess', 'sievec', 'sieve-filter', 'formail', 'mail', 'mailx', 'mail.mailutils',
             'bsd-mailx', 's-nail', 'mutt', 'neomutt', 'alpine', 'movemail', 'auditctl', 'dovecot', 'rspamadm', 'postqueue', 'mailq') THEN 'CommandExecuted'
  -- Copies of the mail: only what destroys them.
  WHEN t IN ('borg', 'restic', 'duplicity', 'tarsnap', 'zfs', 'btrfs', 'lvremove', 'rdiff-backup', 'bareos', 'bconsole') THEN
    CASE WHEN t = 'lvremove' OR regexp_matches(s, '\s(?:delete|prune|forget|destroy|remove-[a-z-]+|subvolume\s+delete|snapshot\s+delete|purge|--remove-older-than|-d)\b') THEN 'CommandExecuted' ELSE '' END
  WHEN t = 'chattr' AND contains(s, '/var/log/') THEN 'CommandExecuted'
  WHEN t IN ('rm', 'unlink', 'shred', 'find') AND regexp_matches(s, '/(?:backups?|snapshots?|\.zfs|\.snapshots)\b') THEN 'CommandExecuted'
  -- Inside a disk image the path of the spool has another beginning, or none.
  WHEN t = 'debugfs' AND regexp_matches(s, '\s-[a-zA-Z]*w') THEN 'CommandExecuted'
  WHEN t IN ('rm', 'unlink', 'shred', 'truncate', 'sed', 'perl', 'dd', 'cp', 'mv', 'ln', 'tar', 'zip', 'scp', 'rsync', 'find', 'touch', 'chown', 'chmod', 'chattr', 'tee', 'install', 'debugfs', 'mount', 'setfacl',
             'wipe', 'srm', 'cat', 'vi', 'vim', 'nano', 'ed', 'ex', 'gzip', 'bash', 'sh', 'dash', 'zsh') OR starts_with(t, 'python')
    -- A shell that only starts a program leaves that program's own record; a redirection leaves none but this.
    THEN CASE WHEN t IN ('bash', 'sh', 'dash', 'zsh') AND NOT regexp_matches(s, '[^>&2]>\s*[^>&]|\s-\w*c\s.*\b(?:rm|unlink|shred|truncate|mv|dd|ln)\s') THEN '' WHEN regexp_matches(s, '/var/(?:spool/)?mail\b|[Mm]aildir|/var/vmail|/(?:mdbox|sdbox)/|/var/spool/(?:postfix|exim4?|mqueue)|\.sieve|/\.forward|/\.procmailrc|/etc/(?:postfix|dovecot|exim4?)/') THEN 'CommandExecuted' ELSE '' END
  ELSE '' END;

-- What a command is to a mail system and its logs: LogCleared, LoggingStopped, CommandExecuted or ''.
CREATE MACRO mw_linux_command(c) AS CASE WHEN c IS NULL OR c = '' THEN '' ELSE list_transform([mw_command(c)], lambda s: list_transform([mw_command_name(s)], lambda t: mw_linux_command_kind(s, t))[1])[1] END;

-- A field of a journal entry: text, a list of values of which the first counts, or the bytes of text that is not UTF-8.
CREATE MACRO mw_journal_text(j) AS CASE
  WHEN j IS NULL OR j::VARCHAR = 'null' THEN ''
  WHEN left(j::VARCHAR, 1) = '"' THEN j ->> '$'
  WHEN left(j::VARCHAR, 2) = '["' THEN j ->> '$[0]'
  WHEN left(j::VARCHAR, 1) = '[' THEN array_to_string(list_transform(try(from_json(j, '["INTEGER"]')), lambda x: chr(CASE WHEN x BETWEEN 9 AND 126 THEN x ELSE 65533 END)), '')
  ELSE j::VARCHAR END;

-- Mail logs. A message chooses its subject, its sender and its message id, so these are only display text; who did what
-- to which message is read from the fixed start of the line, and the flags from its end.

CREATE MACRO mw_line(service, event, "user", session, address, box, target, uid, tail, message_id, subject, sender, recipient, size, items, queue, result, counters) AS
  {'service': service, 'event': event, 'user': "user", 'session': session, 'address': address, 'box': box, 'target': target, 'uid': uid, 'tail': tail, 'message_id': message_id,
   'subject': subject, 'sender': sender, 'recipient': recipient, 'size': size, 'items': items, 'queue': queue, 'result': result, 'counters': counters};

CREATE MACRO mw_no_line() AS mw_line('', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '');

-- What Dovecot puts before every message (mail_log_prefix): imap(eva)<29659><TdAXUb9gPerLAHFC>: in 2.3 and in 2.4; older versions lack the number or
-- the session, and hosts that logged sessions before 2.3 put session=<...> behind it.
CREATE MACRO mw_dovecot_prefix() AS '^([a-z0-9-]+)(?:\((?:\d+, ?)?([^()<>]*)\))?(?:<\d+>)?(?:<([^<>]*)>)?: (?:session=<?([^<>: ]*)>?[:,]? )?(?:(?:Info|Warning|Error|Debug|Notice|Fatal|Panic): )?';

-- A line of mail_log: the event and its fields, in this order whatever mail_log_fields says: box, uid, msgid, size, vsize, from, subject, flags
-- (dovecot/core, src/plugins/mail-log/mail-log-plugin.c). Any may be missing: the default has no box in some versions. The first field that is
-- none of a folder's name ends that name, so that no subject is read as a uid. A message whose uid is not known has uid=error. Names of folders
-- are cut after 64 signs, ids, senders and users after 80, with "..." behind: a longer one is two lines that lost the end between them, and not read.
CREATE MACRO mw_dovecot_message_start() AS mw_dovecot_prefix() || '(?:[a-z0-9-]+: )?(undelete|autoexpunge|expunge|delete|copy|move|save|append|flag_change)(?: from (.*?))?: ';
CREATE MACRO mw_dovecot_message_struct(r) AS CASE WHEN r.service = '' OR length(r.box) > 67 OR length(r.origin) > 67 THEN mw_no_line() ELSE
  mw_line(r.service, r.event, r."user", coalesce(nullif(r.session, ''), r.older), '', r.box, r.origin, coalesce(nullif(r.uid, ''), nullif(r.first_uid, ''), 'error'),
    CASE WHEN r.tail = '' OR starts_with(r.tail, ', ') THEN r.tail ELSE ', ' || r.tail END, '', '', '', '', '', '1', '', '', '') END;
CREATE MACRO mw_dovecot_message(t) AS list_transform([regexp_extract(t, mw_dovecot_message_start() ||
  '(?:box=(.*?)(?:, uid=(\d+|error))?|uid=(\d+|error))?((?:(?:, )?(?:msgid|size|vsize|from|subject|flags)=.*)?)$',
  ['service', 'user', 'session', 'older', 'event', 'origin', 'box', 'uid', 'first_uid', 'tail'])], lambda r: mw_dovecot_message_struct(r))[1];

CREATE MACRO mw_dovecot_box_struct(r) AS mw_line(r.service, r.event, r."user", coalesce(nullif(r.session, ''), r.older), '', r.box, '', '', '', '', '', '', '', '', '', '', '', '');
CREATE MACRO mw_dovecot_box(t) AS list_transform([regexp_extract(t, mw_dovecot_prefix() || '(Mailbox (?:created|deleted|renamed|subscribed|unsubscribed)): (.*)$',
  ['service', 'user', 'session', 'older', 'event', 'box'])], lambda r: mw_dovecot_box_struct(r))[1];

-- The name of a failed login is the attacker's text: what the server knows stands behind its last bracket. Up to 2.3 a login is "Login: user=<...>"
-- and a failed one "Disconnected (auth failed, 1 attempts in 2 secs): ..."; 2.4 says "Logged in: ..." and "Login aborted: Connection closed (auth
-- failed, 1 attempts in 2 secs) (auth_failed): ..." (login_log_format, login_log_format_elements and client_get_extra_disconnect_reason in
-- dovecot/core, src/login-common).
CREATE MACRO mw_dovecot_login_struct(r, t) AS CASE WHEN r.service = '' OR length(r."user") > 83 THEN mw_no_line() ELSE
  mw_line(r.service, CASE WHEN r.event IN ('Login', 'Logged in') THEN 'login' WHEN regexp_matches(r.event, 'auth[ _]failed|authentication failure|[Aa]uthentication failed') THEN 'login-failed' ELSE 'login-ended' END,
  r."user", regexp_extract(t, 'session=<([^<>]*)>[^<>]*$', 1), r.address, '', '', '', '', '', '', '', '', '', '', '', CASE WHEN r.event IN ('Login', 'Logged in') THEN '' ELSE r.event END, '') END;
CREATE MACRO mw_dovecot_login(t) AS list_transform([regexp_extract(t,
  '^([a-z0-9]+-login): (?:(?:Info|Warning|Notice): )?(Login|Logged in|[A-Z][^<>]*?): (?:user=<(.*)>, )?(?:method=[^,<>]*, )?rip=([0-9A-Fa-f.:]+)(?:, |$)', ['service', 'event', 'user', 'address'])], lambda r: mw_dovecot_login_struct(r, t))[1];

CREATE MACRO mw_dovecot_end_struct(r, t) AS mw_line(r.service, CASE WHEN r.service = '' THEN '' ELSE 'disconnect' END, r."user", coalesce(nullif(r.session, ''), r.older), '', '', '', '', '', '', '', '', '', '',
  coalesce(nullif(regexp_extract(t, ' expunged=(\d+) trashed=\d+', 1), ''), nullif(regexp_extract(t, ', del=(\d+)/\d+, size=\d+', 1), ''), ''), '', r.reason,
  json_object('deleted', regexp_extract(t, ' deleted=(\d+) expunged=', 1), 'expunged', regexp_extract(t, ' expunged=(\d+) trashed=', 1), 'trashed', regexp_extract(t, ' trashed=(\d+)', 1),
              'body_count', regexp_extract(t, ' body_count=(\d+)', 1), 'body_bytes', regexp_extract(t, ' body_bytes=(\d+)', 1), 'retr', regexp_extract(t, ', retr=(\d+)/', 1),
              'del', regexp_extract(t, ', del=(\d+)/', 1), 'of', regexp_extract(t, ', del=\d+/(\d+)', 1), 'bytes_in', regexp_extract(t, ' bytes=(\d+)/', 1), 'bytes_out', regexp_extract(t, ' bytes=\d+/(\d+)', 1))::VARCHAR);
CREATE MACRO mw_dovecot_end(t) AS list_transform([regexp_extract(t, mw_dovecot_prefix() || '((?:Disconnected|Connection closed|Logged out)[^=]*?)(?: top=| in=| bytes=| \(| rcvd=|$)',
  ['service', 'user', 'session', 'older', 'reason'])], lambda r: mw_dovecot_end_struct(r, t))[1];

-- Pigeonhole prints the id without blanks, so that the first ": " behind it is its own.
CREATE MACRO mw_dovecot_sieve_struct(r) AS CASE WHEN r.service = '' THEN mw_no_line() ELSE mw_line(r.service, CASE
    WHEN r.action LIKE 'discard%' OR r.action LIKE '%marked message to be discarded%' THEN 'sieve-discard' WHEN r.action LIKE '%stored mail into mailbox%' OR r.action LIKE 'saved mail%' THEN 'sieve-store'
    WHEN r.action LIKE '%forwarded%' THEN 'sieve-redirect' WHEN r.action LIKE '%reject%' THEN 'sieve-reject' ELSE 'sieve' END,
  r."user", coalesce(nullif(r.session, ''), r.older), '', regexp_extract(r.action, '(?:into mailbox|saved mail to) ''?(.*?)''?$', 1), regexp_extract(r.action, 'forwarded to <?([^<> ]+)', 1), '', '',
  r.message_id, '', '', '', '', '1', '', r.action, '') END;
CREATE MACRO mw_dovecot_sieve(t) AS list_transform([regexp_extract(t, mw_dovecot_prefix() || '(?:sieve: )?msgid=(.*?): (.*)$', ['service', 'user', 'session', 'older', 'message_id', 'action'])], lambda r: mw_dovecot_sieve_struct(r))[1];

CREATE MACRO mw_dovecot(t) AS CASE
  WHEN regexp_matches(t, '^[a-z0-9]+-login: ') THEN mw_dovecot_login(t)
  WHEN regexp_matches(t, mw_dovecot_message_start() || '(?:box|uid|msgid|size|vsize|from|subject|flags)=') THEN mw_dovecot_message(t)
  WHEN contains(t, ': Mailbox ') OR contains(t, ': Info: Mailbox ') THEN mw_dovecot_box(t)
  WHEN contains(t, ' msgid=') THEN mw_dovecot_sieve(t)
  WHEN contains(t, ': Disconnected') OR contains(t, ': Connection closed') OR contains(t, ': Logged out') THEN mw_dovecot_end(t)
  ELSE mw_no_line() END;

-- Postfix writes every line about a message as QUEUEID: fields. Fields are matched in Postfix's own order from the left.
CREATE MACRO mw_postfix_queue(m) AS regexp_extract(m, '^([0-9A-F]{6,15}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}): ', 1);
CREATE MACRO mw_postfix_to_struct(p, q, r) AS mw_line(p, 'deliver', r.recipient, '', '', '', r.relay, '', '', '', '', '', r.recipient, '', '1', q, r.status, r.answer);
CREATE MACRO mw_postfix_client_struct(p, q, r) AS mw_line(p, 'client', r."user", '', r.address, '', '', '', '', '', '', '', '', '', '', q, r.method, '');
CREATE MACRO mw_postfix_check_struct(p, q, r) AS mw_line(p, 'check-' || r.action, '', '', r.address, '', '', '', r.text, '', CASE WHEN starts_with(r.text, 'header Subject: ') THEN substr(r.text, 17) ELSE '' END, '', r.recipient, '', '1', q, r.answer, '');
CREATE MACRO mw_postfix_from_struct(p, q, r) AS mw_line(p, 'queue', '', '', '', '', '', '', '', '', '', r.sender, '', r.size, '', q, '', '');
CREATE MACRO mw_postfix_body(p, q, m) AS CASE
  WHEN starts_with(m, 'to=<') THEN list_transform([regexp_extract(m,
    '^to=<(.*?)>, (?:orig_to=<.*?>, )?relay=([^,]*), (?:conn_use=\d+, )?delay=[\d.]+, delays=[\d./]+, dsn=[\d.]+, status=(\w+) \((.*)\)$', ['recipient', 'relay', 'status', 'answer'])], lambda r: mw_postfix_to_struct(p, q, r))[1]
  WHEN starts_with(m, 'message-id=') OR starts_with(m, 'resent-message-id=') THEN mw_line(p, 'message-id', '', '', '', '', '', '', '', substr(m, strpos(m, '=') + 1), '', '', '', '', '', q, '', '')
  WHEN starts_with(m, 'client=') THEN list_transform([regexp_extract(m, '^client=[^\[]*\[([^\]]*)\](?::\d+)?(?:, sasl_method=([^,]*))?(?:, sasl_username=(.*?))?(?:, sasl_sender=.*|, orig_.*)?$', ['address', 'method', 'user'])], lambda r: mw_postfix_client_struct(p, q, r))[1]
  WHEN starts_with(m, 'from=<') THEN list_transform([regexp_extract(m, '^from=<(.*)>, size=(\d+), nrcpt=\d+', ['sender', 'size'])], lambda r: mw_postfix_from_struct(p, q, r))[1]
  WHEN m = 'removed' THEN mw_line(p, CASE WHEN p LIKE '%postsuper' THEN 'queue-removed' WHEN p LIKE '%qmgr' THEN 'queue-done' ELSE 'queue-gone' END, '', '', '', '', '', '', '', '', '', '', '', '', '1', q, '', '')
  WHEN m IN ('placed on hold', 'released from hold', 'requeued', 'Removed') THEN mw_line(p, m, '', '', '', '', '', '', '', '', '', '', '', '', '1', q, '', '')
  WHEN regexp_matches(m, '^(?:discard|reject|redirect|replace|strip|filter|hold|warning|prepend|milter-discard|milter-reject): ') THEN list_transform([regexp_extract(m,
    '^([a-z-]+): (.*?)(?: from [^\[;]*\[([0-9A-Fa-f.:]*)\](?::\d+)?)?(?:; from=<[^>]*> to=<([^>]*)> proto=\S+(?: helo=<[^>]*>)?(?:: ([^;]*))?)?$', ['action', 'text', 'address', 'recipient', 'answer'])], lambda r: mw_postfix_check_struct(p, q, r))[1]
  ELSE mw_no_line() END;
CREATE MACRO mw_postfix(p, m) AS CASE
  WHEN p LIKE '%postsuper' AND regexp_matches(m, '^(?:Deleted|Requeued|Placed on hold|Released from hold): \d+ messages?') OR p = 'postfix' AND regexp_matches(m, '^Deleted: \d+ messages?$')
    THEN mw_line(p, CASE WHEN starts_with(m, 'Deleted') THEN 'queue-emptied' ELSE 'queue-changed' END, '', '', '', '', '', '', '', '', '', '', '', '', regexp_extract(m, '(\d+) message', 1), '', m, '')
  WHEN contains(m, 'SASL ') AND contains(m, 'authentication failed') THEN mw_line(p, 'login-failed', regexp_extract(m, 'sasl_username=(.*)$', 1), '', regexp_extract(m, '\[([0-9A-Fa-f.:]+)\]: SASL ', 1), '', '', '', '', '', '', '', '', '', '', '', m, '')
  WHEN starts_with(m, 'refreshing the Postfix') OR starts_with(m, 'reload ') THEN mw_line(p, 'reload', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '')
  WHEN regexp_matches(m, '^[0-9A-Za-z]{6,20}: ') THEN list_transform([mw_postfix_queue(m)], lambda q: CASE WHEN q = '' THEN mw_no_line() ELSE mw_postfix_body(p, q, substr(m, length(q) + 3)) END)[1]
  ELSE mw_no_line() END;

-- Exim: what stands behind T= is the subject and comes after everything that Exim knows itself.
CREATE MACRO mw_exim_in(q, m) AS mw_line('exim', 'message-id', regexp_extract(m, ' A=[^\s:]+:(\S+)', 1), '', regexp_extract(m, '^<= \S+(?: [A-Z]=(?:\([^)]*\)|\S+)(?: \([^)]*\))?)*? \[([0-9A-Fa-f.:]+)\]', 1), '', '', '', '',
  CASE WHEN regexp_matches(m, ' S=\d+(?: [A-Z]\w*=\S+)* id=\S') THEN '<' || regexp_extract(m, ' S=\d+(?: [A-Z]\w*=\S+)* id=(\S+)', 1) || '>' ELSE '' END,
  regexp_extract(m, ' T="(.*)"(?: from .*| for .*)?$', 1), regexp_extract(m, '^<= (\S+)', 1), '', regexp_extract(m, ' S=(\d+)', 1), '', q, '', '');
CREATE MACRO mw_exim_out_struct(q, r) AS mw_line('exim', 'deliver', r."user", '', '', '', r.transport, '', '', '', '', r.sender, coalesce(nullif(r.recipient, ''), r."user"), '', '1', q, 'sent', '');
CREATE MACRO mw_exim_body(q, m) AS CASE
  WHEN starts_with(m, '<= ') THEN mw_exim_in(q, m)
  WHEN regexp_matches(m, '^[=-]> ') THEN list_transform([regexp_extract(m, '^[=-]> (\S+)(?: \([^)]*\))?(?: <([^<>]*)>)?(?: F=<([^<>]*)>)? R=\S+ T=(\S+)', ['user', 'recipient', 'sender', 'transport'])], lambda r: mw_exim_out_struct(q, r))[1]
  WHEN regexp_matches(m, '^removed by ') THEN mw_line('exim', 'queue-removed', substr(m, 12), '', '', '', '', '', '', '', '', '', '', '', '1', q, '', '')
  WHEN regexp_matches(m, ' marked delivered by ') THEN mw_line('exim', 'queue-removed', regexp_extract(m, ' marked delivered by (\S+)$', 1), '', '', '', '', '', '', '', '', '', regexp_extract(m, '^address <(.*?)> marked', 1), '', '1', q, m, '')
  WHEN regexp_matches(m, '^(?:frozen|unfrozen|cancelled|edited) by ') THEN mw_line('exim', 'queue-' || regexp_extract(m, '^(\w+)', 1), regexp_extract(m, ' by (\S+)$', 1), '', '', '', '', '', '', '', '', '', '', '', '1', q, '', '')
  WHEN starts_with(m, '=> :blackhole:') OR contains(m, ':blackhole:') THEN mw_line('exim', 'check-discard', '', '', '', '', '', '', '', '', '', '', '', '', '1', q, m, '')
  ELSE mw_no_line() END;
CREATE MACRO mw_exim(m) AS CASE
  WHEN regexp_matches(m, '^\w{6}-\w{6,11}-\w{2,4} ') THEN mw_exim_body(split_part(m, ' ', 1), substr(m, strpos(m, ' ') + 1))
  WHEN contains(m, 'authenticator failed for') THEN mw_line('exim', 'login-failed', regexp_extract(m, '\(set_id=(.*)\)[^()]*$', 1), '', regexp_extract(m, '\[([0-9A-Fa-f.:]+)\](?::\d+)?:? 535 ', 1), '', '', '', '', '', '', '', '', '', '', '', '', '')
  WHEN starts_with(m, 'cwd=') THEN mw_line('exim', 'command', '', '', '', '', '', '', regexp_extract(m, ' \d+ args: (.*)$', 1), '', '', '', '', '', '', '', '', '')
  ELSE mw_no_line() END;

CREATE MACRO mw_sendmail_from_struct(q, r) AS mw_line('sendmail', 'message-id', '', '', r.address, '', '', '', '', r.message_id, '', trim(r.sender, '<>'), '', r.size, '', q, '', '');
CREATE MACRO mw_sendmail_to_struct(q, r) AS mw_line('sendmail', 'deliver', r.recipient, '', '', '', r.mailer, '', '', '', '', '', r.recipient, '', '1', q, CASE WHEN starts_with(r.status, 'Sent') THEN 'sent' ELSE lower(r.status) END, '');
CREATE MACRO mw_sendmail(m) AS CASE
  WHEN regexp_matches(m, '^[A-Za-z0-9]{12,16}: from=') THEN list_transform([regexp_extract(m,
    '^\w+: from=(.*?), size=(\d+), class=-?\d+(?:, pri=\d+)?, nrcpts=\d+(?:, msgid=(.*?))?(?:, (?:bodytype|proto|daemon|auth)=.*?)?, relay=(?:.*?\[([0-9A-Fa-f.:]+)\])?', ['sender', 'size', 'message_id', 'address'])], lambda r: mw_sendmail_from_struct(split_part(m, ':', 1), r))[1]
  WHEN regexp_matches(m, '^[A-Za-z0-9]{12,16}: to=') THEN list_transform([regexp_extract(m,
    '^\w+: to=<?(.*?)>?, (?:ctladdr=.*?, )?delay=[\d:+]+, xdelay=[\d:+]+, mailer=(\w+),.*? stat=(.*)$', ['recipient', 'mailer', 'status'])], lambda r: mw_sendmail_to_struct(split_part(m, ':', 1), r))[1]
  ELSE mw_no_line() END;

CREATE MACRO mw_rspamd_struct(r) AS mw_line('rspamd', 'filter', r."user", '', r.address, '', '', '', '', CASE WHEN r.message_id IN ('', 'undef') THEN '' ELSE '<' || r.message_id || '>' END, '', r.sender, '', '', '1', r.queue, r.action, '');
CREATE MACRO mw_rspamd(m) AS list_transform([regexp_extract(m,
  'id: <(.*?)>, (?:qid: <(.*?)>, )?ip: ([0-9A-Fa-f.:]+),(?: user: (.*?),)?(?: smtp_from: <(.*?)>,| from: <(.*?)>,)? ?\(default: \w \(([a-z _-]+)\)', ['message_id', 'queue', 'address', 'user', 'sender', 'from', 'action'])], lambda r: mw_rspamd_struct(r))[1];

-- Logins and privileges of the host itself.
CREATE MACRO mw_sudo_struct(r) AS mw_line('sudo', CASE WHEN r.why = '' THEN 'sudo' ELSE 'sudo-refused' END, r."user", r.tty, '', '', r.target, '', r.command, '', '', '', '', '', '', '', r.why, '');
CREATE MACRO mw_sudo(m) AS list_transform([regexp_extract(m,
  '^\s*([^\s:]+) : (?:([^;=]+) ; )?(?:HOST=\S+ ; )?(?:TTY=(\S+) ; )?PWD=.*? ; USER=(\S+) ; (?:GROUP=\S+ ; )?(?:TSID=\S+ ; )?(?:ENV=.*? ; )?COMMAND=(.*)$', ['user', 'why', 'tty', 'target', 'command'])], lambda r: mw_sudo_struct(r))[1];
CREATE MACRO mw_sshd_struct(r) AS mw_line('sshd', CASE WHEN r.event = 'Accepted' THEN 'login' ELSE 'login-failed' END, r."user", '', r.address, '', '', '', '', '', '', '', '', '', '', '', r.method, '');
CREATE MACRO mw_sshd(m) AS CASE
  -- The name of a failed login may hold " from 192.0.2.1 port 1 ssh2": the true address is the last.
  WHEN regexp_matches(m, '^(?:Accepted|Failed) ') THEN list_transform([regexp_extract(m, '^(Accepted|Failed) (\S+) for (?:invalid user )?(.*) from (\S+) port \d+', ['event', 'method', 'user', 'address'])], lambda r: mw_sshd_struct(r))[1]
  ELSE mw_no_line() END;
CREATE MACRO mw_cron(m) AS mw_line('cron', 'cron', regexp_extract(m, '^\(([^()]*)\) CMD \(', 1), '', '', '', '', '', regexp_extract(m, '^\([^()]*\) CMD \(\s*(.*)\)$', 1), '', '', '', '', '', '', '', '', '');

CREATE MACRO mw_logger(p, m) AS CASE
  WHEN regexp_matches(m, 'exiting on signal|auditd.*exiting|Journal stopped|syslog-ng shutting down|Audit daemon is suspending|The audit daemon is exiting') THEN mw_line('logging', 'logging-stopped', '', '', '', '', '', '', '', '', '', '', '', '', '', '', m, '')
  WHEN regexp_matches(m, '\] start$|rsyslogd was HUPed|Journal started|syslog-ng starting up|Started dispatcher') THEN mw_line('logging', 'logging-started', '', '', '', '', '', '', '', '', '', '', '', '', '', '', m, '')
  WHEN regexp_matches(m, 'Vacuuming done, freed') THEN mw_line('logging', 'logging-vacuumed', '', '', '', '', '', '', '', '', '', '', '', '', '', '', m, '')
  ELSE mw_no_line() END;

-- One line of any of these programs; an empty record for all other lines. A macro repeats what it is given wherever it names it,
-- a lambda holds it: every pattern is matched once.
CREATE MACRO mw_mail_line(p, m) AS CASE
  WHEN p = 'dovecot' THEN mw_dovecot(m)
  WHEN starts_with(p, 'postfix') THEN mw_postfix(p, m)
  WHEN p IN ('exim', 'exim4') THEN mw_exim(m)
  WHEN p = 'sudo' THEN mw_sudo(m)
  WHEN p = 'sshd' OR p = 'sshd-session' THEN mw_sshd(m)
  WHEN p IN ('CRON', 'cron', 'crond') THEN mw_cron(m)
  WHEN p IN ('sendmail', 'sm-mta', 'sm-msp', 'sm-acceptingconnections') THEN mw_sendmail(m)
  WHEN p IN ('rspamd', 'rspamd_proxy') THEN mw_rspamd(m)
  WHEN ends_with(p, '-login') THEN mw_dovecot_login(p || ': ' || m)
  WHEN starts_with(p, 'rsyslog') OR p IN ('auditd', 'systemd-journald', 'syslog-ng', 'syslogd', 'systemd-journal') THEN mw_logger(p, m)
  ELSE mw_no_line() END;

-- The rest of a mail_log line: , msgid=..., size=N, vsize=N, from=..., subject=..., flags=(...). A subject may repeat any of it, so that
-- a rest that names a size twice is not taken apart at all.
CREATE MACRO mw_mail_middle(t) AS regexp_replace(t, ', flags=\([^()]*\)$', '');
CREATE MACRO mw_mail_is_ambiguous(t) AS len(regexp_extract_all(t, ', size=')) > 1;
CREATE MACRO mw_mail_is_hostile(t) AS regexp_matches(regexp_replace(mw_mail_middle(t), '^, (?:msgid|size|vsize|from|subject)=', ''), '(?:box|uid|msgid|flags|user|rip|lip|session)=')
  OR mw_mail_is_ambiguous(mw_mail_middle(t)) OR len(regexp_extract_all(mw_mail_middle(t), ', (?:from|subject)=')) > 2;
CREATE MACRO mw_no_fields() AS {'message_id': '', 'size': '', 'vsize': '', 'sender': '', 'subject': ''};
CREATE MACRO mw_mail_fields_struct(f) AS CASE WHEN length(f.message_id) > 83 OR length(f.sender) > 83 THEN mw_no_fields() ELSE f END;
CREATE MACRO mw_mail_fields(t) AS list_transform([CASE WHEN contains(t, ', size=') AND NOT mw_mail_is_ambiguous(mw_mail_middle(t))
  THEN regexp_extract(mw_mail_middle(t), '^(?:, msgid=(.*?))?, size=(\d+|error)(?:, vsize=(\d+|error))?(?:, from=(.*?))?(?:, subject=(.*))?$', ['message_id', 'size', 'vsize', 'sender', 'subject'])
  ELSE regexp_extract(mw_mail_middle(t), '^(?:, msgid=([^,]*))?(?:(, size=.*))?(?:(, vsize=.*))?(?:, from=([^,]*))?(?:, subject=(.*))?$', ['message_id', 'size', 'vsize', 'sender', 'subject']) END], lambda f: mw_mail_fields_struct(f))[1];

-- The line and, for a line about a message, what its rest says.
CREATE MACRO mw_mail_record(p, m) AS list_transform([mw_mail_line(p, m)], lambda l: {
  'line': l, 'fields': CASE WHEN l.uid <> '' THEN mw_mail_fields(l.tail) ELSE mw_no_fields() END, 'is_ambiguous': l.uid <> '' AND mw_mail_is_ambiguous(mw_mail_middle(l.tail))})[1];

-- The flags of open(2) and openat(2) as the kernel logs them: hexadecimal, without 0x. 1 and 2 write, 512 empties the file (O_TRUNC).
CREATE MACRO mw_audit_flags(call, a1, a2) AS coalesce(try_cast('0x' || CASE WHEN call = 'openat' THEN a2 ELSE a1 END AS BIGINT), 0);

-- What kind of line this is, told by its first word with a colon (head) and the text behind it (body). The kinds that fill a mail log
-- are so strict that string functions can take them apart: no value holds what ends it, and a subject no "=". Whatever is not exactly of
-- such a kind (no longer than names and ids are logged, too) is 'whole' and read by mw_mail_record; '' says that mw_mail_record would find nothing in it.
CREATE MACRO mw_dovecot_kind(head, body) AS CASE
  WHEN NOT regexp_full_match(head, '[a-z0-9-]+\([^()<>, ]*\)<\d+><[^<>]*>') THEN CASE
    WHEN body = 'Connect from local' AND regexp_full_match(head, '[a-z]+\(\d+\)') THEN ''
    WHEN regexp_full_match(head, '[a-z0-9]+-login') AND regexp_full_match(body, '(?:Login|Logged in): user=<[^<>,]*>, method=[^,<>]*, rip=[0-9A-Fa-f.:]+, lip=[^<>]*session=<[^<>]*>')
      AND length(split_part(body, ', ', 1)) <= 83 THEN 'login'
    ELSE 'whole' END
  WHEN starts_with(body, 'msgid=') OR starts_with(body, 'sieve: msgid=') THEN CASE
    WHEN regexp_full_match(body, '(?:sieve: )?msgid=[^: ]*: (?:stored mail into mailbox ''[^'':]*''|saved mail to [^'':]*)') AND NOT contains(body, 'discarded') AND NOT contains(body, 'forwarded to') THEN 'sieve'
    ELSE 'whole' END
  WHEN starts_with(body, 'Disconnected') OR starts_with(body, 'Logged out') OR starts_with(body, 'Connection closed') THEN CASE
    WHEN regexp_full_match(body, '[^=(]* in=\d+ out=\d+ deleted=\d+ expunged=\d+ trashed=\d+ hdr_count=\d+ hdr_bytes=\d+ body_count=\d+ body_bytes=\d+') AND NOT contains(body, ': Mailbox ') THEN 'logout'
    ELSE 'whole' END
  WHEN regexp_full_match(body, '(?:undelete|autoexpunge|expunge|delete|copy|move|save|append|flag_change)(?: from [^:,=]*)?: box=[^,=]*, uid=\d+, msgid=[^,]*, size=\d+, vsize=\d+, from=[^,=]*, subject=[^=]*, flags=\([^()]*\)')
    AND length(split_part(body, ', ', 1)) <= 67 AND length(split_part(body, ', ', 3)) <= 83 AND length(split_part(body, ', ', 6)) <= 83 THEN 'message'
  ELSE 'whole' END;
CREATE MACRO mw_postfix_kind(body) AS CASE
  WHEN body = 'removed' THEN 'removed'
  WHEN starts_with(body, 'message-id=') THEN 'id'
  WHEN regexp_full_match(body, 'from=<[^<>]*>, size=\d+, nrcpt=\d+ \(queue active\)') THEN 'from'
  WHEN regexp_full_match(body, 'client=[^\[,]*\[[^\],]*\]') THEN 'client'
  WHEN regexp_full_match(body, 'to=<[^<>,]*>, relay=[^,]*, (?:conn_use=\d+, )?delay=[\d.]+, delays=[\d./]+, dsn=[\d.]+, status=\w+ \(.*\)') THEN 'to'
  ELSE 'whole' END;
CREATE MACRO mw_line_kind(p, m, head, body) AS CASE
  WHEN contains(m, chr(10)) THEN 'whole'
  WHEN p = 'dovecot' THEN mw_dovecot_kind(head, body)
  WHEN starts_with(p, 'postfix') THEN CASE
    WHEN p = 'postfix' OR ends_with(p, 'postsuper') OR contains(m, 'SASL ') AND contains(m, 'authentication failed') THEN 'whole'
    WHEN regexp_full_match(head, '[0-9A-F]{6,15}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}') THEN mw_postfix_kind(body)
    WHEN starts_with(m, 'refreshing the Postfix') OR starts_with(m, 'reload ') THEN 'whole'
    ELSE '' END
  WHEN p IN ('exim', 'exim4', 'sudo', 'sshd', 'sshd-session', 'CRON', 'cron', 'crond', 'sendmail', 'sm-mta', 'sm-msp', 'sm-acceptingconnections', 'rspamd', 'rspamd_proxy', 'auditd', 'systemd-journald',
             'syslog-ng', 'syslogd', 'systemd-journal') OR ends_with(p, '-login') OR starts_with(p, 'rsyslog') THEN 'whole'
  ELSE '' END;
