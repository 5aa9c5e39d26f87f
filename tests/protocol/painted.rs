//! What is painted by hand belongs to the session: it is saved, asked about and taken back like everything else in it.

use super::*;

fn stroke(radius: f32) -> Mask {
    let mut mask = Mask::filled(8, 6, false);
    mask.paint_disc(3.0, 2.0, radius, true);
    mask
}

fn paint(world: &mut World, mask: Option<Mask>) {
    world.act(Action::SetMask(mask));
    world.act(Action::EndEdit);
}

#[test]
fn a_painted_mask_comes_back_from_a_file_and_from_the_autosave() {
    let mut world = World::new();
    world.begin_with(5);
    assert!(!world.session.has_unsaved_work(), "what is made again by one click");
    paint(&mut world, Some(stroke(1.0)));
    assert!(world.session.has_unsaved_work() && !world.session.has_unsaved_iterates());
    world.rest();
    world.check_journal();
    let file = world.saved();
    assert!(!world.session.is_unsaved() && !world.session.has_unsaved_work());
    paint(&mut world, Some(stroke(2.0)));
    assert!(world.session.is_unsaved() && world.session.has_unsaved_work(), "the file holds another one");
    world.act(Action::OpenSession(file));
    assert!(world.session.question().is_some());
    world.act(Action::Confirm);
    world.rest();
    assert_eq!((world.session.mask(), world.session.is_unsaved()), (Some(&stroke(1.0)), false));
    world.check_journal();
    // What is cleared is cleared in a file and in the autosave too, and can be taken back.
    paint(&mut world, None);
    assert!(world.session.is_unsaved());
    world.rest();
    world.check_journal();
    world.check_file();
    world.act(Action::Do(Verb::Undo));
    assert_eq!((world.session.mask(), world.session.is_unsaved()), (Some(&stroke(1.0)), true));
    world.rest();
    world.check_journal();
    world.check_file();
}

#[test]
fn nothing_puts_a_painted_mask_away_unasked_and_undo_brings_it_back() {
    let mut world = World::new();
    world.begin_with(5);
    let file = world.saved();
    paint(&mut world, Some(stroke(1.0)));
    let open = Action::OpenPictures(vec!["somewhere.png".into()]);
    for action in [open.clone(), Action::OpenSession(file), Action::Do(Verb::NewSession)] {
        world.act(action.clone());
        let question = world.session.question().unwrap_or_else(|| panic!("{action:?} asks"));
        assert_eq!((&question.then, question.can_save), (&action, true));
        world.act(Action::Cancel);
    }
    world.act(Action::Do(Verb::Generate));
    assert!(world.session.question().is_none(), "it lies over what is made now");
    world.rest();
    assert_eq!((world.session.mask(), world.session.file()), (Some(&stroke(1.0)), None));
    world.check_journal();
    world.act(open);
    let text = &world.session.question().expect("it asks").text;
    assert!(text.contains("the mask that was painted"), "{text}");
    world.act(Action::Confirm);
    arrive(&mut world, false);
    assert_eq!((world.tag(), world.session.mask()), (123, None), "it was painted on other pictures");
    world.act(Action::Do(Verb::Undo));
    assert_eq!(world.session.mask(), Some(&stroke(1.0)));
}

#[test]
fn pictures_that_arrive_after_a_mask_was_painted_ask_before_they_put_it_away() {
    let mut world = World::new();
    world.begin_with(5);
    let open = Action::OpenPictures(vec!["somewhere.png".into()]);
    world.act(open.clone());
    assert!(world.session.question().is_none(), "nothing would be lost");
    paint(&mut world, Some(stroke(1.0)));
    arrive(&mut world, false);
    assert_eq!(world.session.question().map(|question| &question.then), Some(&open));
    assert_eq!((world.tag(), world.session.mask()), (5, Some(&stroke(1.0))));
}

#[test]
fn a_stroke_is_one_entry() {
    let mut world = World::new();
    world.begin_with(5);
    world.settle();
    let before = world.journal_bytes();
    for step in 1..100_u8 {
        world.act(Action::SetMask(Some(stroke(f32::from(step) / 20.0))));
    }
    world.rest();
    world.settle();
    let facts = world.journal_bytes() - before;
    assert!((1..1000).contains(&facts), "{facts} bytes for one stroke");
    world.check_journal();
}
