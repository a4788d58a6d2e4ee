interface Page {
  readonly next: string | null;
}

/**
 * The same pages in the same order, up to `count` of them fetched before they are asked for. A failure comes where its
 * page would. Who leaves early does not wait for what is under way.
 */
export async function* readAhead<T>(pages: AsyncGenerator<T>, count: number): AsyncGenerator<T> {
  const fetched: Promise<IteratorResult<T>>[] = [];
  const fetch = () => {
    const next = pages.next(); // a generator takes further wishes while it works, and grants them one by one
    next.catch(() => {});
    fetched.push(next);
  };
  try {
    for (let i = 0; i < count; i++) fetch();
    for (;;) {
      fetch();
      const { done, value } = await fetched.shift()!;
      if (done) return;
      yield value;
    }
  } finally {
    pages.return(undefined).catch(() => {});
  }
}

/** All pages of a list, one after the other. */
export async function* pagesOf<P extends Page>(
  call: (paging: { limit: number; after?: string }) => Promise<P>,
): AsyncGenerator<P> {
  let after: string | null = null;
  do {
    const page: P = await call({ limit: 1000, ...(after !== null && { after }) });
    yield page;
    after = page.next;
  } while (after !== null);
}
