use crate::{Context, Governed, Open, Outcome, RequestView, Side, Verdict, Watch};

/// How far a layer follows a call: [`Whole`], [`ResultsOnly`], or a function that judges a response.
#[diagnostic::on_unimplemented(
    message = "a call with request `{R}` and response `{Res}` cannot be followed to the end of its body",
    note = "HTTP: wrap the layers in `mesh_core::http::governed(..)`",
    note = "any other response: say `.results_only()` or `.judge(|response: &Response| ..)` on the layer"
)]
pub trait Reach<R, Res>: Clone {
    /// A handle on the record of a request: a [`Context`], or [`NoContext`] where requests carry none.
    type Record: Record;
    /// The record of a request.
    fn record(&self, request: &R) -> Self::Record;
    /// The record of a request; [`Context::none`] where it carries none.
    fn context<'a>(&self, request: &'a R) -> &'a Context;
    /// A request whose head can be looked at; `None` for any other.
    fn view<'a>(&self, request: &'a mut R) -> Option<&'a mut dyn RequestView>
    where
        R: 'a;
    /// A response whose body can be watched; `None` for any other.
    fn governed<'a>(&self, response: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a;
    /// Tells a response: the head to those who hear it. A ticket that stays open is left with the response.
    fn respond<W: Watch, C: Record>(&self, open: Open<W, C>, response: &mut Res);
}

/// To the end of the body: needs a request with a context and a response that is [`Governed`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole;

/// `Ok` is a success, the head is not looked at: any request, any response.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultsOnly;

/// What an open ticket keeps of its request.
pub trait Record: Clone + Default + Send + 'static {
    /// The record.
    fn context(&self) -> &Context;
}

impl Record for Context {
    #[inline]
    fn context(&self) -> &Context {
        self
    }
}

/// There is no record. It takes no room.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoContext;

static NO_CONTEXT: Context = Context::none();

impl Record for NoContext {
    #[inline]
    fn context(&self) -> &Context {
        &NO_CONTEXT
    }
}

impl<R: RequestView, Res: Governed> Reach<R, Res> for Whole {
    type Record = Context;

    #[inline]
    fn record(&self, request: &R) -> Context {
        request.context().clone()
    }

    fn context<'a>(&self, request: &'a R) -> &'a Context {
        request.context()
    }

    fn view<'a>(&self, request: &'a mut R) -> Option<&'a mut dyn RequestView>
    where
        R: 'a,
    {
        Some(request)
    }

    fn governed<'a>(&self, response: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a,
    {
        Some(response)
    }

    #[inline(always)]
    fn respond<W: Watch, C: Record>(&self, open: Open<W, C>, response: &mut Res) {
        open.respond(response);
    }
}

impl<R, Res> Reach<R, Res> for ResultsOnly {
    type Record = NoContext;

    #[inline]
    fn record(&self, _: &R) -> NoContext {
        NoContext
    }

    fn context<'a>(&self, _: &'a R) -> &'a Context {
        &NO_CONTEXT
    }

    fn view<'a>(&self, _: &'a mut R) -> Option<&'a mut dyn RequestView>
    where
        R: 'a,
    {
        None
    }

    fn governed<'a>(&self, _: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a,
    {
        None
    }

    #[inline(always)]
    fn respond<W: Watch, C: Record>(&self, open: Open<W, C>, _: &mut Res) {
        open.end(Verdict::without_answer(Outcome::Success, Side::Upstream));
    }
}

impl<R, Res, F: Fn(&Res) -> Outcome + Clone> Reach<R, Res> for F {
    type Record = NoContext;

    #[inline]
    fn record(&self, _: &R) -> NoContext {
        NoContext
    }

    fn context<'a>(&self, _: &'a R) -> &'a Context {
        &NO_CONTEXT
    }

    fn view<'a>(&self, _: &'a mut R) -> Option<&'a mut dyn RequestView>
    where
        R: 'a,
    {
        None
    }

    fn governed<'a>(&self, _: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a,
    {
        None
    }

    #[inline(always)]
    fn respond<W: Watch, C: Record>(&self, open: Open<W, C>, response: &mut Res) {
        open.end(Verdict::without_answer(self(response), Side::Upstream));
    }
}
