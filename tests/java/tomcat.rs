//! A war on Tomcat: what it is told, and what is refused.
