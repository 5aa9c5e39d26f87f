use lapidary::worker::*; use lapidary::trace::RunId; use std::time::Instant;
fn main(){
 let (tx,rx)=crossbeam_channel::bounded(64);
 let t0=Instant::now();
 let n:u32=std::env::args().nth(1).map(|s|s.parse().unwrap()).unwrap_or(16);
 let dev:DeviceChoice=std::env::args().nth(2).unwrap_or("cpu".into()).parse().unwrap();
 let mut s=lapidary::session::Settings::default(); s.generate.samples=n; s.compute.device=dev;
 tx.send(Command::Generate{job:JobId(1),settings:s.generate.clone(),compute:s.compute.clone()}).unwrap();
 let mut tx=Some(tx);
 lapidary::worker::serve(&rx,std::path::Path::new("/tmp/lapcache"),&mut |e|{ match &e {
  Event::Generated{origins,secs,..}=>{ println!("{:?} generated {secs}",t0.elapsed());
    let _=tx.as_ref().unwrap().send(Command::Refine{job:JobId(2),run:RunId(1),origins:origins.clone(),from:None,settings:s.refine.clone(),iterations:Some(10),compute:s.compute.clone()});
    let mut img=image::RgbImage::new(32*8,32*2); for i in 0..16.min(origins.images.len()){ let b=origins.images.rgb8(i); for y in 0..32{for x in 0..32{ let p=(y*32+x)*3; img.put_pixel((i%8*32+x) as u32,(i/8*32+y) as u32, image::Rgb([b[p],b[p+1],b[p+2]])); }}} img.save("/tmp/gen.png").unwrap(); }
  Event::State{state,secs,..}=>println!("{:?} k={} {secs:.3} obj {:?} delta {:?}",t0.elapsed(),state.iteration,&state.numbers.objective[..2],&state.numbers.delta_l2[..2]),
  Event::Resting{job,..} if job.0==2 => {tx=None; return false}
  Event::Failed{..}=>{println!("{e:?}"); return false}
  other=>println!("{:?} {other:?}",t0.elapsed()) } true});
}
