import { type TreePath, toSlashes } from './tree-path.ts';

export interface FindPattern {
  /** A LIKE pattern over a name's bytes that everything matching fits; `matches` decides. */
  readonly nameLike: Buffer;
  readonly matches: (path: TreePath) => boolean;
}

/**
 * A pattern without '/' is for names; with one it is for whole paths, where * stays within a name and ** crosses '/'.
 * ? is one character (one byte in a path that is not UTF-8). The rest is literal.
 */
export function findPattern(pattern: string): FindPattern {
  const whole = pattern.includes('/');
  const wanted = pattern.replace(/^\/+/, '').replace(/\/+$/, '');
  const source = wanted.replace(/\*\*|\*|\?|[\\^$.|+()[\]{}]/g, (part) => {
    if (part === '**') return '[^]*';
    if (part === '*') return '[^/]*';
    return part === '?' ? '[^/]' : `\\${part}`;
  });
  const text = new RegExp(`^${source}$`, 'u');
  const bytes = new RegExp(`^${Buffer.from(source).toString('latin1')}$`);
  return {
    nameLike: likeOf(wanted),
    matches(path) {
      const slashes = toSlashes(path);
      const subject = whole ? slashes : slashes.subarray(slashes.lastIndexOf(0x2f) + 1);
      const utf8 = textOf(subject);
      return utf8 === undefined ? bytes.test(subject.toString('latin1')) : text.test(utf8);
    },
  };
}

/** Of the last name in the pattern, what stands behind the last ** in it: there no more than one name is meant. */
function likeOf(pattern: string): Buffer {
  const name = pattern.slice(pattern.lastIndexOf('/') + 1);
  const crossing = name.lastIndexOf('**');
  const rest = crossing < 0 ? name : name.slice(crossing);
  return Buffer.from(rest.replace(/[*?]+|[%_\\]/g, (part) => (/[*?]/.test(part) ? '%' : `\\${part}`)));
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Buffer): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
