import { Catch, type RpcExceptionFilter } from '@nestjs/common';
import { type Observable, throwError } from 'rxjs';

/**
 * Errors of topics' handlers as they were thrown: whether a message comes again hangs on their code, which Nest's own
 * filter would replace by "Internal server error". Every controller of a topic needs it.
 */
@Catch()
export class PassOnFilter implements RpcExceptionFilter {
  catch(error: unknown): Observable<never> {
    return throwError(() => error);
  }
}
