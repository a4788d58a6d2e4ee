/**
 * Settings of the embedded server, as arguments so that a newer Tidemark's settings apply at the next start.
 * Durability as in any Postgres; otherwise small: no helper processes that one host's registry can do without.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  port: '5432',
  unix_socket_permissions: '0700',
  max_connections: '100',

  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '1GB',

  shared_buffers: '64MB',
  huge_pages: 'off',
  work_mem: '16MB',
  maintenance_work_mem: '64MB',
  jit: 'off',
  io_method: 'sync',
  max_worker_processes: '0',
  max_parallel_workers: '0',
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  max_logical_replication_workers: '0',
  autovacuum: 'on',
  autovacuum_max_workers: '1',
  autovacuum_worker_slots: '1',

  logging_collector: 'off',
  log_checkpoints: 'off',
  log_line_prefix: '%m [%p] ',
  log_min_error_statement: 'panic',
  log_timezone: 'UTC',
  TimeZone: 'UTC',
};

export const serverArguments = (data: string, socketDir: string): string[] => [
  '-D',
  data,
  ...Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  '-c',
  `unix_socket_directories="${socketDir.replaceAll('"', '""')}"`,
];
