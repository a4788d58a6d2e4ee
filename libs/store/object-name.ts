import { TmError } from '../model/errors.ts';

const COMPONENT = /^[A-Za-z0-9_.-]{1,255}$/;
const MAX_NAME_LENGTH = 1024;

/** First component that no object's name has: the file store's unfinished objects lie there. */
export const RESERVED_COMPONENT = 'tmp';

/** One part of a name between slashes. '.' and '..' are none, since a folder would be left with them. */
export function isNameComponent(text: string): boolean {
  return COMPONENT.test(text) && text !== '.' && text !== '..';
}

export function isObjectName(name: string): boolean {
  const components = name.split('/');
  const shaped = name.length <= MAX_NAME_LENGTH && components.every(isNameComponent);
  return shaped && components[0] !== RESERVED_COMPONENT;
}

/** Throws TM1099 for what is no object's name; every adapter asks, so that a bad name reaches no file system. */
export function checkObjectName(name: string): void {
  if (isObjectName(name)) return;
  throw new TmError('TM1099', `${JSON.stringify(name.slice(0, 100))} is no object name`);
}
