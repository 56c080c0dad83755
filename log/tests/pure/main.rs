//! Properties of the pure part of the log, checked against definitions and implementations that share no code with it.

#[cfg(test)]
mod authenticate;
#[cfg(test)]
mod author;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod merkle;
#[cfg(test)]
mod note;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod proof_file;
#[cfg(test)]
mod state_map;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tile;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod witness;
