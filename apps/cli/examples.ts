/** What `--help` of each command ends with. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  init: ['tidemark init --store /mnt/disk/tidemark'],
  backup: [
    'tidemark backup ~/documents',
    'tidemark backup /srv --tag host=web1 --exclude "*.tmp" --one-file-system',
    'tidemark backup /srv --dry-run',
  ],
  watch: ['tidemark watch ~/documents --every 30s'],
  backups: ['tidemark backups', 'tidemark backups ~/documents --json'],
  restore: [
    'tidemark restore latest --to /tmp/restored',
    'tidemark restore 20261123T101500Z-F letters/2026 --in-place',
    'tidemark restore --at 2026-11-23T12:00:00Z --source ~/documents --to /tmp/restored --dry-run',
  ],
  diff: ['tidemark diff latest', 'tidemark diff baseline latest --source ~/documents'],
  ls: ['tidemark ls latest letters', 'tidemark ls latest --recursive'],
  find: ['tidemark find "*.pdf"'],
  cat: ['tidemark cat latest letters/2026/tax.txt > tax.txt'],
  verify: ['tidemark verify', 'tidemark verify --read-data'],
  expire: ['tidemark expire ~/documents --keep-daily 7 --keep-weekly 5 --dry-run'],
  prune: ['tidemark prune --dry-run'],
  pin: ['tidemark pin latest --source ~/documents', 'tidemark pin 20261123T101500Z-F --off'],
  tag: ['tidemark tag latest before=upgrade', 'tidemark tag latest before='],
  key: ['tidemark key show'],
  registry: [
    'tidemark registry rebuild',
    'tidemark registry rebuild --identity /media/usb/identity --take-over',
  ],
  doctor: ['tidemark doctor', 'tidemark doctor --json'],
};
