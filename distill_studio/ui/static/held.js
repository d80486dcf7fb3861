/* What the server has on its disk and its backup has not yet: the browser keeps it until then, so
   that a server whose disk goes with it (a Space that restarts) loses nothing that was confirmed.
   Used by the Outbox of bench.js, read before it. Each answer of the server says up to which moment
   (`now`, on the clock of one `life` of the server) its backup goes (`covered`). An entry goes once
   it is covered. When the life is another one, the server may know less than it did: the entry goes
   back into the outbox and is sent again, and the server stores once what it has by its id.
   Without a backup (no `backup` in the answers) nothing is ever held. */
const HELD_MOST = 2000, HELD_LOOK_MS = 10000;
class Held {
  constructor(outbox) {
    this.outbox = outbox;
    this.prefix = outbox._prefix(`${outbox.mode}-held`);
    this.entries = new Map();  // the end of the entry's key -> { item, life, now }
    for (const [key, kept] of outbox._stored(this.prefix)) this.entries.set(key.slice(this.prefix.length), kept);
    if (this.size) this._look();
  }
  get size() { return this.entries.size; }
  keep(key, item, point, receipt) {  // a receipt: what the server wants to see should it come again
    const end = key.slice(this.outbox.prefix.length);
    const kept = { item: receipt ? { ...item, receipt } : item, life: point.life, now: point.now };
    this.entries.set(end, kept);
    try { localStorage.setItem(this.prefix + end, JSON.stringify(kept)); } catch (_) { /* as long as the page is open */ }
    if (this.size > HELD_MOST) this._drop(this._ends()[0]);  // a backup that stands still: it is on the server's disk
    this._lookSoon();
  }
  settle(point) {  // null: there is no backup any more
    let isBack = false;
    for (const end of this._ends()) {
      const kept = this.entries.get(end);
      if (point && kept.life === point.life && kept.now > point.covered) continue;
      if (point && kept.life !== point.life) { this.outbox._keep(this.outbox.prefix + end, kept.item); isBack = true; }
      this._drop(end);
    }
    this.outbox.onChange();
    if (isBack) this.outbox.flush();
  }
  makeRoom() {  // for what the server has not got: that comes first
    const ends = this._ends();
    for (const end of ends) try { localStorage.removeItem(this.prefix + end); } catch (_) { /* off */ }
    return ends.length > 0;
  }
  close() { this.isClosed = true; clearTimeout(this.timer); }
  _ends() { return [...this.entries.keys()].sort(); }
  _drop(end) { this.entries.delete(end); try { localStorage.removeItem(this.prefix + end); } catch (_) { /* off */ } }
  _lookSoon() { if (!this.timer && !this.isClosed) this.timer = setTimeout(() => this._look(), HELD_LOOK_MS); }
  async _look() {
    clearTimeout(this.timer); this.timer = 0;
    try { this.settle(await callApi(this.outbox.workspace, "backup_point", {})); }
    catch (error) { if (!(error instanceof ApiError)) throw error; }  // later
    if (this.size) this._lookSoon();
  }
}

