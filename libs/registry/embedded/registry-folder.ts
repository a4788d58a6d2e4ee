import { layoutOf } from './layout.ts';
import { findPlace } from './place.ts';

/** Where the home's Postgres keeps its data; not below the home where its user can't enter that. */
export const registryFolder = (home: string): string => findPlace(layoutOf(home)).dir;
