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
  WHEN regexp_matches(p, '^/var/mail/[^/]+$') THEN 'mbox'
  WHEN regexp_matches(p, '/(?:Maildir|maildir|\.maildir)/(?:.*/)?tmp/|/(?:cur|new)/sed[A-Za-z0-9]{6}$') THEN 'temporary'
  WHEN regexp_matches(p, '/(?:Maildir|maildir|\.maildir)/(?:.*/)?(?:cur|new)/[^/]+$|^/var/(?:vmail|spool/vmail)/.*/(?:cur|new)/[^/]+$') THEN 'maildir'
  WHEN regexp_matches(p, '/(?:mdbox|sdbox)/.*/(?:m\.[0-9]+|u\.[0-9]+)$') THEN 'dbox'
  WHEN regexp_matches(p, '/(?:Maildir|maildir|\.maildir)(?:/|$)|^/var/(?:vmail|spool/vmail)/|/(?:mdbox|sdbox)(?:/|$)') THEN 'folder'
  WHEN regexp_matches(p, '/home/[^/]+/(?:mbox|mail/[^/]+|Mail/[^/]+)$') THEN 'mbox'
  ELSE '' END;

-- Whose mail a path holds: /var/mail/bob, /home/alice/Maildir/..., /var/vmail/contoso.example/eva/... (as eva@contoso.example).
CREATE MACRO mw_store_owner(p) AS CASE
  WHEN p IS NULL OR left(p, 1) <> '/' THEN ''
  WHEN starts_with(p, '/var/mail/') THEN regexp_extract(p, '^/var/mail/([^/]+?)(?:\.lock[^/]*)?$', 1)
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
  WHEN t = 'journalctl' AND regexp_matches(s, '--(?:vacuum|rotate|flush)') THEN 'LogCleared'
  WHEN t = 'logrotate' AND regexp_matches(s, '\s(?:-[a-z]*f|--force)') THEN 'LogCleared'
  WHEN t = 'history' AND regexp_matches(s, '\s-[a-z]*c') THEN 'LogCleared'
  WHEN regexp_matches(s, '(?:^|[^>])>\s*/var/log/(?:mail|maillog|exim|dovecot|syslog|messages|auth|secure|audit|sudo)') THEN 'LogCleared'
  WHEN t = 'auditctl' AND regexp_matches(s, '\s-(?:D|d|W|e\s*0)') THEN 'LoggingStopped'
  WHEN t IN ('systemctl', 'service', 'rc-service', 'invoke-rc.d') AND regexp_matches(s, '\b(?:stop|disable|mask|kill)\b') AND regexp_matches(s, '\b(?:rsyslogd?|syslog(?:-ng|\.socket)?|auditd|systemd-journald|laurel)\b') THEN 'LoggingStopped'
  WHEN t IN ('kill', 'pkill', 'killall') AND regexp_matches(s, '\b(?:rsyslogd?|syslog-ng|syslogd|auditd|systemd-journald|laurel)\b') THEN 'LoggingStopped'
  WHEN t IN ('doveadm', 'postsuper', 'postconf', 'postfix', 'postmap', 'exim', 'exim4', 'exiqgrep', 'exim_checkaccess', 'sievec', 'sieve-filter', 'formail', 'mail', 'mailx', 'mail.mailutils',
             'bsd-mailx', 's-nail', 'mutt', 'neomutt', 'alpine', 'movemail', 'auditctl', 'dovecot', 'rspamadm', 'postqueue', 'mailq') THEN 'CommandExecuted'
  WHEN t IN ('rm', 'unlink', 'shred', 'truncate', 'sed', 'perl', 'dd', 'cp', 'mv', 'ln', 'tar', 'zip', 'scp', 'rsync', 'find', 'touch', 'chown', 'chmod', 'chattr', 'tee', 'install', 'debugfs', 'mount', 'setfacl',
             'wipe', 'srm', 'cat', 'vi', 'vim', 'nano', 'ed', 'ex', 'gzip', 'bash', 'sh', 'dash', 'zsh') OR starts_with(t, 'python')
    THEN CASE WHEN regexp_matches(s, '/var/(?:spool/)?mail\b|[Mm]aildir|/var/vmail|/(?:mdbox|sdbox)/|/var/spool/(?:postfix|exim4?|mqueue)|\.sieve|/\.forward|/\.procmailrc|/etc/(?:postfix|dovecot|exim4?)/') THEN 'CommandExecuted' ELSE '' END
  ELSE '' END;

-- What a command is to a mail system and its logs: LogCleared, LoggingStopped, CommandExecuted or ''.
CREATE MACRO mw_linux_command(c) AS CASE WHEN c IS NULL OR c = '' THEN '' ELSE mw_linux_command_kind(mw_command(c), mw_command_name(mw_command(c))) END;
