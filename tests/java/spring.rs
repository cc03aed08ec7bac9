//! A Spring Boot app: what it is told, and what is refused.
