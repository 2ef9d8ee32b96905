// What is asked of the server. The session is a cookie that no script can read.

/** A request that was not done, with a text for people. */
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export class Server {
  #onSignedOut;

  constructor(onSignedOut) {
    this.#onSignedOut = onSignedOut;
  }

  get(path, query = {}) {
    return this.#ask(address(path, query), {});
  }

  /** `body` is JSON already. */
  post(path, body = '{}') {
    return this.#ask(address(path), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  }

  /** Calls a method of the HTTP API. */
  async call(method, body) {
    const { result, error } = await this.post(`api/${method}`, typeof body === 'string' ? body : JSON.stringify(body));
    if (error) throw new Refused(`error ${error.code}: ${error.message}`);
    return result;
  }

  /**
   * Opens a stream that comes back by itself. `handlers`: by name of event; besides `up`, `down`, and `refused`,
   * which asks the server why it was.
   */
  stream(path, query, { up, down, refused, ...events }) {
    const check = async () => {
      await this.get('session');
      await refused?.();
    };
    return new Stream(address(path, query), { up, down, events }, check);
  }

  async #ask(url, options) {
    let response;
    try {
      response = await fetch(url, options);
    } catch {
      throw new Refused('The server cannot be reached.');
    }
    const body = await response.text();
    let answer;
    try {
      answer = JSON.parse(body);
    } catch {
      answer = { message: body.trim() };
    }
    if (response.ok) return answer;
    const refused = new Refused(answer.message || `HTTP status ${response.status}`, response.status);
    // Of a wrong password the page for signing in tells by itself.
    if (response.status === 401 && !url.pathname.endsWith('/login')) {
      refused.signedOut = true;
      this.#onSignedOut();
    }
    throw refused;
  }
}

/** A stream of events. EventSource comes back after a lost connection, but not after a refusal. */
class Stream {
  #source;
  #timer;
  #closed = false;

  constructor(url, { up, down, events }, check) {
    const open = () => {
      this.#source = new EventSource(url);
      this.#source.onopen = () => up?.();
      this.#source.onerror = () => {
        down?.();
        if (this.#source.readyState !== EventSource.CLOSED) return;
        // Refused, and a script is not told why. If it is the session, the page asks for the password and
        // closes this.
        check().catch(() => {}).then(() => {
          if (!this.#closed) this.#timer = setTimeout(open, RETRY);
        });
      };
      for (const [name, handle] of Object.entries(events)) {
        this.#source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
      }
    };
    open();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#source.close();
  }
}

/** Until a refused stream is asked for again, in ms. */
const RETRY = 3000;

function address(path, query = {}) {
  const url = new URL(`admin/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}
