//! `step(Event)` and `draw(Buffer)`: the whole program without a terminal.
