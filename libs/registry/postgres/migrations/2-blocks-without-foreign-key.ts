/**
 * Checking each row's key was half of the time of inserting blocks. What writes and deletes locks the pack's row
 * itself (docs/decisions/013).
 */
export const blocksWithoutForeignKeySql = (): string => 'alter table blocks drop constraint blocks_pack_fkey';
