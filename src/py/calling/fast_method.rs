//! `fast_method!`: declares a method in the fast calling convention (`method`).
//!
//! The name, the class and the parameters of a method are written once, next to its body.

/// Declares `$name`, the method of `$class` that Python calls `$python`.
///
/// The last argument is written as a closure and becomes a function. Its second parameter is either
/// the arguments, after the names of the leading ones that may be given as keywords too, or an array
/// of all the parameters the method has.
macro_rules! fast_method {
    (
        $name:ident, $class:ty, $python:literal, [$($parameter:expr),*], $doc:expr,
        |$this:ident, $arguments:ident| $body:block
    ) => {
        #[doc = concat!("`", $python, "` of `", stringify!($class), "`")]
        pub(crate) struct $name;

        impl $crate::py::calling::method::FastMethod for $name {
            type Class = $class;
            const NAME: &'static str = concat!($python, "\0");
            const DOC: &'static std::ffi::CStr = $doc;
            const PARAMETERS: &'static [&'static str] = &[$($parameter),*];

            #[inline]
            fn call<'py>(
                $this: &Bound<'py, $class>,
                $arguments: &$crate::py::calling::method::Arguments<'_, 'py>,
            ) -> PyResult<Bound<'py, PyAny>> {
                $body
            }
        }
    };
    (
        $name:ident, $class:ty, $python:literal, $doc:expr,
        |$this:ident, [$($given:ident),*]| $body:block
    ) => {
        fast_method!(
            $name, $class, $python, [$(stringify!($given)),*], $doc,
            |$this, arguments| {
                let [$($given),*] = arguments.exactly($python, [$(stringify!($given)),*])?;
                $body
            }
        );
    };
}
pub(crate) use fast_method;
