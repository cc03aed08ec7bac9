//! The program against a control socket.
