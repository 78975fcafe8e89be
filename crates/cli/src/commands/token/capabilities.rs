//! `token capabilities [TOKEN] PATH`.

use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, switch};
use crate::session::Session;

static OPTIONS: FlagSet =
    FlagSet { title: "Command Options", flags: &[switch("accessor", "The first argument is an accessor.")] };

/// Tells what a token may do.
pub static COMMAND: Command = Command {
    path: "token capabilities",
    synopsis: "Print capabilities of a token on a path",
    operands: "[options] [TOKEN | ACCESSOR] PATH",
    about: "\
Prints what a token may do at a path, the one in use if none is given.

    $ {bin} token capabilities cubbyhole/foo",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    let accessor = s.on("accessor");
    if accessor {
        s.expect(2)?;
    } else {
        s.expect_at_least(1)?;
        s.expect_at_most(2)?;
    }
    let (first, path) = if s.args.len() == 2 { (s.arg(0), s.arg(1)) } else { (String::new(), s.arg(0)) };
    let request = match (accessor, first.is_empty()) {
        (true, _) => Request::post("sys/capabilities-accessor").json(&json!({ "accessor": first, "path": path })),
        (false, false) => Request::post("sys/capabilities").json(&json!({ "token": first, "path": path })),
        (false, true) => Request::post("sys/capabilities-self").json(&json!({ "path": path })),
    };
    let answer = s.secret(&request).doing("listing capabilities")?;
    let list = answer.as_ref().and_then(|a| a.get("capabilities").or_else(|| a.get(&path))).and_then(Value::as_array);
    let Some(list) = list else { return Err(Failure::Server("No capabilities found".to_owned())) };
    let mut names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    s.show(&names, &names.join(", "))?;
    Ok(0)
}
