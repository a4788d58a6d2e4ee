import { catalogueRoutes } from '../contracts/api/control.ts';
import { pathToQuery } from '../contracts/api/wire.ts';
import type { HttpClient } from '../http/client.ts';
import { TmError } from '../model/errors.ts';
import { type EntryRecord, readRecords } from '../model/records.ts';
import { type TreePath, toSlashes } from '../model/tree-path.ts';

/** The control plane ends a page sooner where its records are large. */
const PAGE = 5000;

export interface RecordRange {
  /** That entry and what is below it. */
  readonly within?: TreePath | undefined;
  readonly depth?: 'children' | 'all' | undefined;
  /** Records in one page. */
  readonly pageSize?: number | undefined;
}

/** A backup's entries in order, page by page as the control plane gives them (route `listRecords`). */
export async function* recordPages(
  control: HttpClient,
  backupId: string,
  { within, depth = 'all', pageSize = PAGE }: RecordRange = {},
  signal?: AbortSignal,
): AsyncGenerator<EntryRecord[]> {
  let after: string | undefined;
  do {
    const query = {
      limit: pageSize,
      depth,
      ...(within && { within: pathToQuery(toSlashes(within)) }),
      ...(after !== undefined && { after }),
    };
    const page = await control.call(
      catalogueRoutes.listRecords,
      { params: { id: backupId }, query },
      { signal },
    );
    if (page.length < 2) throw new TmError('TM1806', 'a page of entries is cut');
    const cursorEnd = 2 + page.readUInt16LE(0);
    after = cursorEnd > 2 ? page.toString('latin1', 2, cursorEnd) : undefined;
    const records = [...readRecords(page.subarray(cursorEnd))];
    if (records.length > 0) yield records;
  } while (after !== undefined);
}
